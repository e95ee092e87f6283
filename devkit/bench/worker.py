"""One worker process with one avatar, as TEN runs one per conversation.

    python -m devkit.bench.worker CONSOLE_URL INGRESS_URL NUMBER

prints a line when the avatar is ready. Each line of standard input is a number
of seconds: so much speech is handed over in real time, then the number of
bytes that were sent so far is printed. It ends with its standard input. The
parent measures it from outside.
"""

import asyncio
import gc
import sys
import time

from devkit.harness.messages import audio_frame

from .service import Service
from .sides import BYTES_PER_S, Ours, on_shared_loop

FRAME_MS = 20


async def _work(service: Service, number: int) -> None:
    async with Ours(service, number) as ours:
        gc.collect()
        print("ready", flush=True)
        turn_id = 0
        while text := await asyncio.to_thread(sys.stdin.readline):
            turn_id += 1
            await _speak(ours, float(text), turn_id)
            print(ours.totals.sent * 2, flush=True)


async def _speak(ours: Ours, seconds: float, turn_id: int) -> None:
    pcm = bytes(BYTES_PER_S * FRAME_MS // 1000)
    due = time.monotonic()
    for _ in range(round(seconds * 1000 / FRAME_MS)):
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        ours.send(audio_frame(pcm, turn_id))
        due += FRAME_MS / 1000
    await ours.delivered()
    await ours.silent()


if __name__ == "__main__":
    console_url, ingress_url, number = sys.argv[1:]
    service = Service(console_url, ingress_url, "", 0)
    on_shared_loop(_work(service, int(number)))

"""The App: here no more than what testers need to be running."""

import threading

from ._env import TenEnv
from ._process import _abort

# Seconds a tester grants an App that is still starting.
_START_LIMIT_S = 30.0

_lock = threading.Lock()
_running: "App | None" = None


class App:
    """Runs until close(). One at a time in a process.

    It loads no addons and runs no graphs; on_configure, on_init and on_deinit
    are called as in the real runtime, each followed by its `on_*_done`.
    """

    def __init__(self) -> None:
        self._made_on = threading.get_ident()
        self._ready = threading.Event()
        self._close_asked = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, run_in_background: bool) -> None:
        """Run until close(), or on a thread of its own.

        To be called on the thread that made the App: another one ends the
        process. RuntimeError where another App of the process is running.
        """
        global _running
        if threading.get_ident() != self._made_on:
            _abort("an App was made on one thread and run on another")
        with _lock:
            if _running is not None:
                raise RuntimeError("an App is running in this process already")
            _running = self
        if not run_in_background:
            self._serve()
            return
        self._thread = threading.Thread(target=self._serve, name="ten-app")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of an App that runs in the background."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Ask the App to end. Any thread."""
        self._close_asked.set()

    def on_configure(self, ten_env: TenEnv) -> None:
        ten_env.on_configure_done()

    def on_init(self, ten_env: TenEnv) -> None:
        ten_env.on_init_done()

    def on_deinit(self, ten_env: TenEnv) -> None:
        ten_env.on_deinit_done()

    def _serve(self) -> None:
        global _running
        ten_env = TenEnv()
        try:
            self._step("on_configure", ten_env)
            self._step("on_init", ten_env)
            self._ready.set()
            self._close_asked.wait()
            self._step("on_deinit", ten_env)
        finally:
            with _lock:
                _running = None

    def _step(self, step: str, ten_env: TenEnv) -> None:
        getattr(self, step)(ten_env)
        ten_env._wait_until_done(step, f"the App's ten_env.{step}_done()")


def running_app() -> App | None:
    """The App that runs in this process, if one does."""
    return _running


def require_app() -> None:
    """RuntimeError unless an App is running, as testers need one."""
    app = _running
    if app is None or not app._ready.wait(_START_LIMIT_S):
        raise RuntimeError(
            "AsyncExtensionTester.run() needs a running App: start one in "
            "another thread (App().run(False)), wait for its on_init, and "
            "close() it after the last test"
        )

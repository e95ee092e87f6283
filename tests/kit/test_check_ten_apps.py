"""bin/check over a folder of apps in the forms of TEN's own: no false error."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checking import GRAPHS, Tree, check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# The variables of an operator who followed TEN's README and this package's.
ENVIRONMENT = {
    "DEEPGRAM_API_KEY": "dg-1",
    "OPENAI_API_KEY": "sk-1",
    "ELEVENLABS_TTS_KEY": "el-1",
    "COLUMNS": "1000",
}


def extension(name: str, addon: str, **given: Any) -> Tree:
    return {
        "type": "extension",
        "name": name,
        "addon": addon,
        "extension_group": "default",
        "property": given,
    }


def send(source: str, kind: str, name: str, to: str = "avatar") -> Tree:
    """Return a section that sends one message."""
    flow = {"name": name, "dest": [{"extension": to}]}
    return {"extension": source, kind: [flow]}


def rtc(**given: Any) -> Tree:
    return extension(
        "agora_rtc",
        "agora_rtc",
        **{
            "app_id": "${env:AGORA_APP_ID}",
            "app_certificate": "${env:AGORA_APP_CERTIFICATE|}",
            "channel": "ten_agent_test",
            "stream_id": 1234,
            "remote_stream_id": 123,
            "subscribe_audio": True,
            "publish_audio": True,
            "publish_data": True,
            "enable_agora_asr": False,
            **given,
        },
    )


def avatar(**given: Any) -> Tree:
    params = {"sample_rate": 24000}
    return extension(
        "avatar",
        "spatius_avatar_python",
        **{"channel": "", "params": params, **given},
    )


ADAPTER = extension("streamid_adapter", "streamid_adapter")
STT = extension(
    "stt",
    "deepgram_asr_python",
    params={"api_key": "${env:DEEPGRAM_API_KEY}", "sample_rate": 16000},
)
LLM = extension("llm", "openai_llm2_python", api_key="${env:OPENAI_API_KEY}")
TTS = extension(
    "tts",
    "elevenlabs_tts2_python",
    params={"key": "${env:ELEVENLABS_TTS_KEY}", "output_format": "pcm_24000"},
)
COLLECTOR = extension("message_collector", "message_collector2")


def main(addon: str = "my_main") -> Tree:
    return extension("main_control", addon, greeting="Your turn.")


HEARING = [
    {
        "extension": "agora_rtc",
        "audio_frame": [
            {"name": "pcm_frame", "dest": [{"extension": "streamid_adapter"}]},
            {"name": "pcm_frame", "source": [{"extension": "avatar"}]},
        ],
        "cmd": [{"name": "flush", "source": [{"extension": "avatar"}]}],
        "data": [
            {"name": "data", "source": [{"extension": "message_collector"}]}
        ],
    },
    send("streamid_adapter", "audio_frame", "pcm_frame", to="stt"),
    {
        "extension": "main_control",
        "cmd": [
            {
                "names": ["on_user_joined", "on_user_left"],
                "source": [{"extension": "agora_rtc"}],
            },
            {"names": ["tool_register"], "source": [{"extension": "llm"}]},
            {"name": "flush", "dest": [{"extension": "avatar"}]},
        ],
        "data": [{"name": "asr_result", "source": [{"extension": "stt"}]}],
    },
]
SPEAKING = {
    "extension": "tts",
    "audio_frame": [
        {"name": "pcm_frame", "dest": [{"extension": "avatar"}]},
    ],
    "data": [
        {"name": "text_data", "source": [{"extension": "llm"}]},
        {
            "names": ["tts_audio_start", "tts_audio_end"],
            "dest": [{"extension": "avatar"}],
        },
    ],
}


def cascade() -> Tree:
    """Speech recognition, LLM and TTS, driven by the app's main."""
    return {
        "nodes": [rtc(), ADAPTER, STT, LLM, TTS, avatar(), main(), COLLECTOR],
        "connections": [*HEARING, SPEAKING],
    }


def realtime() -> Tree:
    """A model that listens and speaks; it sends no start and no end."""
    model = extension(
        "v2v",
        "openai_mllm_python",
        params={"api_key": "${env:OPENAI_API_KEY}"},
        sample_rate=24000,
        input_sample_rate=16000,
    )
    return {
        "nodes": [rtc(), ADAPTER, model, avatar(), main(), COLLECTOR],
        "connections": [
            {
                "extension": "agora_rtc",
                "audio_frame": [
                    {
                        "name": "pcm_frame",
                        "dest": [{"extension": "streamid_adapter"}],
                    },
                    {"name": "pcm_frame", "source": [{"extension": "avatar"}]},
                ],
                "cmd": [{"name": "flush", "source": [{"extension": "avatar"}]}],
            },
            send("streamid_adapter", "audio_frame", "pcm_frame", to="v2v"),
            send("v2v", "audio_frame", "pcm_frame"),
            send("main_control", "cmd", "flush"),
        ],
    }


def telephone() -> Tree:
    """Without an RTC node: a server of the app's own takes the user's audio."""
    server = extension("server", "twilio_server_python", port=9000)
    return {
        "nodes": [server, STT, LLM, TTS, avatar(channel="calls"), main()],
        "connections": [
            send("server", "audio_frame", "pcm_frame", to="stt"),
            SPEAKING,
            send("main_control", "cmd", "flush"),
        ],
    }


def by_source() -> Tree:
    """All that the avatar takes, in a section of its own."""
    takes = {
        "extension": "avatar",
        "audio_frame": [
            {"name": "pcm_frame", "source": [{"extension": "tts"}]}
        ],
        "data": [
            {
                "names": ["tts_audio_start", "tts_audio_end"],
                "source": [{"extension": "tts"}],
            }
        ],
    }
    return {**cascade(), "connections": [*HEARING, takes]}


def copied(make: Callable[[], Tree]) -> Tree:
    return copy.deepcopy(make())


def app(*graphs: Tree, **entry: Any) -> Tree:
    return {
        "ten": {
            "log": {"handlers": [{"emitter": {"type": "console"}}]},
            "predefined_graphs": [
                {
                    "name": f"voice_assistant_{number}",
                    "auto_start": True,
                    "graph": graph,
                    **entry,
                }
                for number, graph in enumerate(graphs)
            ],
        }
    }


APPS: dict[str, Callable[[], Tree]] = {
    "cascade": lambda: app(copied(cascade)),
    "realtime": lambda: app(copied(realtime)),
    "telephone": lambda: app(copied(telephone)),
    "by source": lambda: app(copied(by_source)),
    "singleton": lambda: app(copied(cascade), singleton=True),
    "demo": lambda: app(
        *(copied(make) for make in (cascade, realtime, by_source) * 2)
    ),
    "flat": lambda: {
        "ten": {"predefined_graphs": [{"name": "a", **copied(cascade)}]}
    },
    "graph file": lambda: copied(cascade),
}


@pytest.fixture(params=APPS)
def tree(request: pytest.FixtureRequest) -> Tree:
    return APPS[request.param]()


def judge(
    folder: Path, tree: Any, *arguments: str, **environment: str | None
) -> tuple[int, str]:
    path = folder / "property.json"
    path.write_text(json.dumps(tree))
    return check(path, *arguments, **{**ENVIRONMENT, **environment})


@pytest.mark.parametrize("channel", ["my_room", "", None])
def test_apps_in_tens_forms_have_no_errors(tree, channel, tmp_path):
    """Whether AGORA_CHANNEL is set or not: the agent server names one."""
    code, words = judge(tmp_path, tree, AGORA_CHANNEL=channel)
    assert code == 0, words


def test_apps_in_tens_forms_are_fine_as_they_are_started(tree, tmp_path):
    """With a session's channel only the graphs that have no end of speech,
    and those that start together, are worth a word."""
    code, words = judge(tmp_path, tree, "--channel", "session-1")
    assert code == 0, words
    graphs = tree.get("ten", {}).get("predefined_graphs", [])
    is_realtime = any("v2v" in json.dumps(graph) for graph in graphs)
    if len(graphs) < 2 and not is_realtime:
        assert words.strip().endswith("No problems."), words
    assert words.count("auto_start: ") == (len(graphs) > 1)


def nodes_of(tree: Any) -> Iterator[Tree]:
    if isinstance(tree, dict):
        yield from tree.get("nodes", [])
    for value in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(value, (dict, list)):
            yield from nodes_of(value)


def change(tree: Tree, name: str, **given: Any) -> None:
    for node in nodes_of(tree):
        if node["name"] == name:
            node["property"].update(given)


MISTAKES: dict[str, tuple[Callable[[Tree], Any], str]] = {
    "uid of the agent": (
        lambda t: change(t, "agora_rtc", stream_id=2000),
        "2000 is also the stream_id of agora_rtc",
    ),
    "another rate": (
        lambda t: change(t, "avatar", params={"sample_rate": 16000}),
        "sends 24000 Hz",
    ),
    "old name": (
        lambda t: change(t, "avatar", agora_avatar_uid="2000"),
        "agora_avatar_uid: unknown property, not used; did you mean agora_uid?",
    ),
    "old rate": (
        lambda t: change(t, "avatar", input_audio_sample_rate=48000),
        "input_audio_sample_rate: unknown property, not used; did you mean "
        "sample_rate?",
    ),
    "example": (
        lambda t: change(
            t, "avatar", params={"spatius_avatar_id": "your_avatar_id_here"}
        ),
        "params.spatius_avatar_id: an example from a document",
    ),
}


@pytest.mark.parametrize(
    ("edit", "said"), MISTAKES.values(), ids=MISTAKES.keys()
)
@pytest.mark.parametrize("form", ["cascade", "realtime", "by source", "demo"])
def test_mistake_in_an_app_of_tens_form_is_named(edit, said, form, tmp_path):
    """In each form of graph."""
    tree = APPS[form]()
    edit(tree)
    assert said in judge(tmp_path, tree)[1]


def test_speech_recognition_is_known_by_its_name(tmp_path):
    """Where its audio does not come from agora_rtc."""
    tree = APPS["telephone"]()
    (entry,) = tree["ten"]["predefined_graphs"]
    echo = send("avatar", "audio_frame", "pcm_frame", to="stt")
    entry["graph"]["connections"].append(echo)
    code, words = judge(tmp_path, tree)
    assert code == 1
    assert "pcm_frame of avatar goes to stt, which listens to the user" in words


# No file may end the command with a traceback


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["avatar", "agora_rtc", "${env:X}", "$X", "pcm_frame", "*", "..", ""]
    ),
)
KEYS = st.sampled_from(
    "name names extension addon dest source params graph nodes connections "
    "property type subgraph selector filter import_uri channel and or field "
    "value operator msg_conversion rules path cmd data audio_frame".split()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)
SOUND = [json.loads(path.read_text()) for path in sorted(GRAPHS.glob("*.json"))]


def places_in(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    pairs: Any = ()
    if isinstance(tree, dict):
        pairs = tree.items()
    elif isinstance(tree, list):
        pairs = enumerate(tree)
    for key, value in pairs:
        yield from places_in(value, (*at, key))


def replaced(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    holder = tree
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value
    return tree


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_no_file_ends_the_command_with_a_traceback(tmp_path, data):
    """For any value in any place of a graph."""
    tree = copy.deepcopy(data.draw(st.sampled_from(SOUND)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(list(places_in(tree))))
        tree = replaced(tree, at, data.draw(VALUES))
    options = data.draw(st.sampled_from([(), ("--channel", "x")]))
    code, _ = judge(tmp_path, tree, *options)
    assert code in (0, 1, 2)

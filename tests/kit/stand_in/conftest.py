"""The stand-in for ten_runtime keeps the rules of the real one."""

import json

import pytest


def skip_with_the_real_runtime():
    from scripted import IS_STAND_IN, WHY_SKIPPED

    if not IS_STAND_IN:
        pytest.skip(WHY_SKIPPED)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request, monkeypatch):
    """The kind of event loop that the extensions share."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    monkeypatch.setenv("TEN_STAND_IN_LOOP", request.param)
    return request.param


@pytest.fixture
def host_of(tmp_path, loop_kind):
    """Makes started hosts in a package folder of their own; stops them."""
    from scripted import register

    skip_with_the_real_runtime()
    from ten_runtime._host import ExtensionHost

    hosts = []

    def make(
        *, property=None, property_file=None, api=None, start=True, **parts
    ):
        if property_file is not None:
            (tmp_path / "property.json").write_text(json.dumps(property_file))
        (tmp_path / "manifest.json").write_text(json.dumps({"api": api or {}}))
        callbacks = {
            key: parts.pop(key)
            for key in ("out_data", "out_cmd", "out_audio_frame")
            if key in parts
        }
        on_failure = parts.pop("on_failure", None)
        name = f"scripted_{len(hosts)}"
        register(name, tmp_path, **parts)
        host = ExtensionHost(
            name,
            property,
            on_data=callbacks.get("out_data"),
            on_cmd=callbacks.get("out_cmd"),
            on_audio_frame=callbacks.get("out_audio_frame"),
            on_failure=on_failure,
        )
        hosts.append(host)
        if start:
            host.start()
        return host

    yield make
    for host in hosts:
        if host._loop is not None:
            host.stop()


@pytest.fixture
def live_through(host_of):
    """Runs an extension from its start to its end."""

    def run(**methods):
        host = host_of(**methods)
        host.wait_until_started()
        host.stop()

    return run


@pytest.fixture
def log_lines():
    """The log lines of the test."""
    skip_with_the_real_runtime()
    from ten_runtime import _log as log_module

    lines = []
    log_module.observers.append(lines.append)
    yield lines
    log_module.observers.remove(lines.append)


@pytest.fixture(scope="module")
def app():
    """The App that testers need: the one that runs, or one of our own."""
    skip_with_the_real_runtime()
    from ten_runtime import App
    from ten_runtime import _app as app_module

    running = app_module.running_app()
    if running is not None:
        yield running
        return
    ours = App()
    ours.run(True)
    yield ours
    ours.close()
    ours.wait()

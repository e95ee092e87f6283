"""Neither the tests nor the demo depend on their caller's environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devkit.harness.stage import open_stage

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9"
EXPORTED = {
    "SPATIUS_API_KEY": "a-key",
    "SPATIUS_APP_ID": "an-app",
    "SPATIUS_AVATAR_ID": "an-avatar",
    "AGORA_APP_ID": "f" * 32,
    "AGORA_APP_CERTIFICATE": "e" * 32,
    "AGORA_TOKEN": "a-token",
    "AGORA_CHANNEL": "a-channel",
    "AGORA_AVATAR_UID": "7",
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "all_proxy": NOWHERE,
    "COLUMNS": "30",
    "FORCE_COLOR": "1",
    "GITHUB_ACTIONS": "true",
}
# One for each part that reads the environment.
TESTS = (
    "tests/unit/test_config.py::test_required_values_arrive",
    "tests/kit/test_check_tokens.py::test_token_for_this_channel_and_uid_is_fine",
    "tests/service/test_end_to_end.py::test_a_given_token_is_used_verbatim",
)


@pytest.mark.takes_s(10)
def test_variables_of_the_caller_are_ignored():
    """Credentials, proxies and the terminal's properties."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        + [str(ROOT / test) for test in TESTS],
        cwd=ROOT,
        env={**os.environ, **EXPORTED},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout


def test_stage_has_its_own_credentials(monkeypatch):
    """Also where the caller has a token, which is for another app."""
    for name, value in EXPORTED.items():
        if name.startswith(("SPATIUS", "AGORA")):
            monkeypatch.setenv(name, value)
    reports = []
    with open_stage(on_report=reports.append) as stage:
        stage.server.wait_for(lambda record: record.live_connections)
    assert [report for report in reports if report.name == "error"] == []

"""bin/check on the folder of a dump: tried, and left as it was."""

from pathlib import Path

import pytest
from checking import check, graph, write


def check_dump(
    tmp_path: Path, dump_path: str, dump: bool = True
) -> tuple[int, str]:
    """Run the command on a node with this `dump_path`."""
    path = write(tmp_path, graph({"dump": dump, "dump_path": dump_path}))
    return check(path, COLUMNS="1000")  # no path is broken


@pytest.mark.parametrize("below", ["", "more", "more/and more"])
def test_file_in_place_of_a_folder_is_a_warning(tmp_path, below):
    """Speech continues without the dump, so it is no error."""
    (tmp_path / "notes").write_text("mine")
    folder = str(tmp_path / "notes" / below)
    code, words = check_dump(tmp_path, folder)
    assert code == 0
    assert words.strip().endswith("0 errors, 1 warning")
    assert f"dump_path: {folder} cannot be written" in words
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_file_system_that_takes_no_files_is_a_warning(tmp_path):
    """To root as well, whom no mode bits stop."""
    _, words = check_dump(tmp_path, "/proc/x")
    assert "dump_path: /proc/x cannot be written" in words


def test_name_that_no_folder_can_have_is_a_warning(tmp_path):
    """Folders created on the way to it are removed again."""
    folder = str(tmp_path / "new" / ("x" * 300))
    _, words = check_dump(tmp_path, folder)
    assert "1 warning" in words
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("folder", ["there", "new", "new/er", "new/../er"])
def test_folder_that_can_be_made_is_fine_and_not_made(tmp_path, folder):
    """The trial leaves everything as it was."""
    (tmp_path / "there").mkdir()
    code, words = check_dump(tmp_path, f"{tmp_path}/{folder}")
    assert code == 0
    assert "No problems." in words
    assert {x.name for x in tmp_path.iterdir()} == {"there", "property.json"}
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize("folder", ["", "dumps", "property.json"])
def test_relative_folder_is_not_tried(tmp_path, monkeypatch, folder):
    """It begins in the agent's folder, which is not known here."""
    monkeypatch.chdir(tmp_path)
    _, words = check_dump(tmp_path, folder)
    assert "No problems." in words


def test_folder_without_a_dump_does_not_matter(tmp_path):
    """Nothing will be written there."""
    _, words = check_dump(tmp_path, "/proc/x", dump=False)
    assert "No problems." in words

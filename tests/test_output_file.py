"""Files written for a user are whole or not there, and take the place of nothing else unasked."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rys._util.output_file import checked_output, whole_file
from rys.errors import OutputFileError


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with whole_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert re.fullmatch(r"\.rys-[0-9a-f]{8}\.txt", temporary.name)  # as docs/export.md says
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with (
        pytest.raises(OutputFileError, match=r"out\.txt: cannot be written: No space"),
        whole_file(path),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_other_files_stay_unless_forced_and_marked_ones_are_ours(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("made by rys")
    with pytest.raises(OutputFileError, match="exists; --force"):
        checked_output(path, sources=[], force=False, mark=b"made by another")
    assert checked_output(path, sources=[], force=False, mark=b"made by rys") == path
    assert checked_output(path, sources=[], force=True) == path


def test_sources_devices_and_directories_are_never_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    source.write_text("data")
    (tmp_path / "link.db").symlink_to(source)
    for name in ("source.db", "link.db"):
        with pytest.raises(OutputFileError, match="is the source itself"):
            checked_output(tmp_path / name, sources=[source], force=True)
    os.mkfifo(tmp_path / "pipe")
    refusals = {
        tmp_path / "pipe": "not a regular file",
        Path(os.devnull): "not a regular file",
        tmp_path: "is a directory",
        tmp_path / "none" / "x": "there is no directory",
    }
    for path, said in refusals.items():
        with pytest.raises(OutputFileError, match=said):
            checked_output(path, sources=[source], force=True)


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    path = checked_output(tmp_path / "link", sources=[], force=False)
    assert path == tmp_path / "target"
    with whole_file(path) as temporary:
        temporary.write_text("text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "text"

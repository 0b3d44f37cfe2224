"""The atomic write: whole or not at all, and nothing left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.base.files import make_directory, remove_durably, write_atomically


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_atomically(target, "the first, longer one")
    write_atomically(target, "grün")
    assert target.read_bytes() == "grün".encode()
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_atomically(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(target, "\ud800")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_is_its_owners_and_those_above_it_are_as_usual(tmp_path: Path) -> None:
    make_directory(tmp_path / "a/b")
    make_directory(tmp_path / "a/b")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    remove_durably(tmp_path / "a")
    remove_durably(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []

"""The atomic write: whole or not at all, and nothing left over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eaves.base.files import make_directory, replacing, write_atomically


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_atomically(target, "the first, longer one")
    write_atomically(target, "grün")
    assert target.read_bytes() == "grün".encode()
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(TypeError), replacing(target) as stream:
        stream.writelines([b"new" * 100_000, None])  # type: ignore[list-item]
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("mode", "umask", "found"), [(0o600, 0o022, 0o600), (0o644, 0o077, 0o644), (None, 0o027, 0o640)]
)
def test_a_file_has_the_mode_that_was_asked_for_or_the_umasks(
    tmp_path: Path, mode: int | None, umask: int, found: int
) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", "x", mode=mode)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == found


def test_a_sole_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").write_text("a longer text that a killed process left")
    write_atomically(tmp_path / "a", b"new", sole_writer=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_directory_is_its_owners_and_those_above_it_are_as_usual(tmp_path: Path) -> None:
    make_directory(tmp_path / "a/b")
    make_directory(tmp_path / "a/b")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700

"""A follower of a log reads each line once, across the rotations."""

from __future__ import annotations

from pathlib import Path

from eaves.local.processes.logs import LOST, MAX_LINE_BYTES, LogFollower, rotate

MAX_BYTES = 30_000


def line(number: int) -> str:
    return f"line {number:06d} " + "x" * 87


def write(path: Path, first: int, last: int) -> None:
    with path.open("ab") as stream:
        stream.writelines(f"{line(number)}\n".encode() for number in range(first, last))


def test_lines_are_read_once_across_many_rotations(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, 0, 5)
    follower = LogFollower(path)
    found = follower.read_last(3)
    for first in range(5, 2_000, 35):
        write(path, first, first + 35)
        if first % 2:
            found += follower.read_new()
        rotate(tmp_path, max_bytes=MAX_BYTES)
        found += follower.read_new()
    assert found == [line(number) for number in range(2, first + 35)]


def test_lines_that_were_rotated_away_are_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, 0, 5)
    follower = LogFollower(path)
    follower.read_last(5)
    for first in range(5, 1_005, 100):
        write(path, first, first + 100)
        rotate(tmp_path, max_bytes=MAX_BYTES)
    write(path, 1_005, 1_007)
    missing, *found = follower.read_new()
    assert missing == LOST
    assert len(found) > 100
    assert found == [line(number) for number in range(1_007 - len(found), 1_007)]
    assert follower.read_new() == []


def test_a_line_is_read_when_it_is_whole_and_a_very_long_one_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = LogFollower(path)
    assert follower.read_last(10) == []
    assert follower.read_new() == []
    path.write_bytes(b"begin")
    assert follower.read_new() == []
    with path.open("ab") as stream:
        stream.write(b"ning\nnext\n")
    assert follower.read_new() == ["beginning", "next"]
    with path.open("ab") as stream:
        stream.write(b"y" * (MAX_LINE_BYTES + 1))
    assert follower.read_new() == ["y" * (MAX_LINE_BYTES + 1)]


def test_the_newest_lines_come_from_both_files_and_a_log_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, 0, 150)
    rotate(tmp_path, max_bytes=MAX_BYTES)
    write(path, 150, 152)
    follower = LogFollower(path)
    assert follower.read_last(3) == [line(149), line(150), line(151)]
    path.rename(tmp_path / "before.log")
    assert follower.read_new() == []
    write(path, 0, 2)
    assert follower.read_new() == [line(0), line(1)]

"""Log files of processes: bounded, and read across the rotation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from eaves.errors import NotFoundError
from eaves.local.client import LocalPlatform
from eaves.local.processes.logs import LOST, MAX_LINE_BYTES, LogFollower, rotate, tail, tail_source
from eaves.local.processes.process import Process
from eaves.local.state import StateDirectory
from tests.waiting import wait_until

MAX_BYTES = 20_000


def line(number: int) -> str:
    return f"line {number:06d} " + "x" * 87


def write(path: Path, first: int, last: int) -> None:
    with path.open("ab") as stream:
        stream.writelines(f"{line(number)}\n".encode() for number in range(first, last))


def sizes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_a_log_takes_no_more_than_its_bound_and_its_newest_lines_are_kept(tmp_path: Path) -> None:
    for first in range(0, 10_000, 50):
        write(tmp_path / "a.log", first, first + 50)
        rotate(tmp_path, max_bytes=MAX_BYTES)
        assert sizes(tmp_path) <= MAX_BYTES
    found = tail(tmp_path / "a.log", 100)
    last = int(found[-1].split()[1])
    assert last == 9_999
    assert found == [line(number) for number in range(last - 99, last + 1)]


def test_a_link_in_the_folder_of_logs_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "mine").write_bytes(b"x" * 50_000)
    (tmp_path / "logs/a.log").symlink_to(tmp_path / "mine")
    rotate(tmp_path / "logs", max_bytes=MAX_BYTES)
    assert (tmp_path / "mine").stat().st_size == 50_000


def test_the_log_of_a_real_child_continues_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "logs/a.log"
    path.parent.mkdir()
    write(path, 0, 150)
    process = Process("this", {}, path, inherit=os.environ)  # the Zen of Python, at the end of the log
    wait_until(lambda: not process.running, 30, what="the child's end")
    rotate(path.parent, max_bytes=MAX_BYTES)
    assert path.read_text() == ""
    assert "Namespaces" in tail(path, 1)[0]


def test_a_follower_reads_each_whole_line_once_also_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = LogFollower(path)
    assert (follower.read_last(10), follower.read_new()) == ([], [])
    path.write_bytes(b"begin")
    assert follower.read_new() == []
    found = []
    with path.open("ab") as stream:
        stream.write(b"ning\n")
    for first in range(0, 1_000, 35):
        write(path, first, first + 35)
        found += follower.read_new()
        rotate(tmp_path, max_bytes=MAX_BYTES)
    assert found == ["beginning", *(line(number) for number in range(first + 35))]
    with path.open("ab") as stream:
        stream.write(b"y" * (MAX_LINE_BYTES + 1))
    assert follower.read_new() == ["y" * (MAX_LINE_BYTES + 1)]


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


def test_lines_of_one_source_are_distinguished_from_those_of_its_agents_others(tmp_path: Path) -> None:
    path = tmp_path / "a.agent.log"
    sources = ["inbox", "gate", "inbox-2", "inbox"]
    written = [json.dumps({"message": str(at), "source": f"/eaves/home/{name}"}) for at, name in enumerate(sources)]
    path.write_text("\n".join([*written[:2], "a word of Python's", "[1]", '{"message": "of all"}', *written[2:], ""]))

    assert tail_source(path, 10, "inbox") == [written[0], written[3]]
    assert tail_source(path, 1, "inbox") == [written[3]]


@pytest.mark.parametrize("name", ["../../secret", "a.log"])
def test_logs_are_of_functions_and_sources_only(name: str, tmp_path: Path) -> None:
    state = StateDirectory(root=tmp_path / "state")
    state.prepare()
    (tmp_path / "secret.log").write_text("outside\n")
    for known in ("digits", "digits.inbox"):
        state.log(known).write_text(f"of {known}\n")
    platform = LocalPlatform(state.root)
    assert platform.logs("digits.inbox") == ["of digits.inbox"]
    with pytest.raises(NotFoundError, match=r"\(logs exist for: digits, digits\.inbox\)"):
        platform.logs(name)

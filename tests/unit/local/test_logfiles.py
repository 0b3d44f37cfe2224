"""Log files of processes: bounded, and read across the rotation."""

import json
import os
from pathlib import Path

import pytest

from eaves.errors import NotFoundError
from eaves.local.client import LocalPlatform
from eaves.local.processes.logs import follow, rotate, tail
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


def test_a_log_takes_no_more_than_its_bound_and_its_newest_lines_are_kept(tmp_path: Path):
    for first in range(0, 10_000, 50):
        write(tmp_path / "a.log", first, first + 50)
        rotate(tmp_path, max_bytes=MAX_BYTES)
        assert sizes(tmp_path) <= MAX_BYTES
    found = tail(tmp_path / "a.log", 100)
    last = int(found[-1].split()[1])
    assert last == 9_999
    assert found == [line(number) for number in range(last - 99, last + 1)]


def test_a_link_in_the_folder_of_logs_is_not_followed(tmp_path: Path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "mine").write_bytes(b"x" * 50_000)
    (tmp_path / "logs/a.log").symlink_to(tmp_path / "mine")
    rotate(tmp_path / "logs", max_bytes=MAX_BYTES)
    assert (tmp_path / "mine").stat().st_size == 50_000


def test_the_log_of_a_real_child_continues_after_a_rotation(tmp_path: Path):
    path = tmp_path / "logs/a.log"
    path.parent.mkdir()
    write(path, 0, 150)
    process = Process("this", {}, path, inherit=os.environ)  # the Zen of Python, at the end of the log
    wait_until(lambda: not process.running, 30, what="the child's end")
    rotate(path.parent, max_bytes=MAX_BYTES)
    assert path.read_text() == ""
    assert "Namespaces" in tail(path, 1)[0]


def test_the_newest_lines_come_from_both_files_with_one_that_is_not_finished(tmp_path: Path):
    path = tmp_path / "a.log"
    write(path, 0, 150)
    rotate(tmp_path, max_bytes=MAX_BYTES)
    write(path, 150, 152)
    with path.open("ab") as stream:
        stream.write(b"beg")
    assert tail(path, 4) == [line(149), line(150), line(151), "beg"]
    assert (tail(path, 0), tail(tmp_path / "none.log", 4)) == ([], [])


def test_lines_of_one_source_are_distinguished_from_those_of_its_agents_others(tmp_path: Path):
    path = tmp_path / "a.agent.log"
    sources = ["inbox", "gate", "inbox-2", "inbox"]
    written = [json.dumps({"message": str(at), "source": f"/eaves/home/{name}"}) for at, name in enumerate(sources)]
    path.write_text("\n".join([*written[:2], "a word of Python's", "[1]", '{"message": "of all"}', *written[2:], ""]))

    assert tail(path, 10, "inbox") == [written[0], written[3]]
    assert tail(path, 1, "inbox") == [written[3]]
    steps = follow(path, 1, "inbox")
    assert next(steps) == [written[3]]
    with path.open("a") as stream:
        stream.write("".join(f"{one}\n" for one in written))
    assert next(steps) == [written[0], written[3]]


@pytest.mark.parametrize("length", [3_017, 100_000])
def test_the_last_line_may_be_long(tmp_path: Path, length: int):
    (tmp_path / "a.log").write_text(f"first\n{'x' * length}\n")
    (found,) = tail(tmp_path / "a.log", 1)
    assert set(found) == {"x"}
    assert len(found) >= min(length, 60_000)


def test_new_lines_are_shown_also_if_they_are_equal_and_while_the_log_is_rotated(tmp_path: Path):
    path = tmp_path / "a.log"

    def add(text: str) -> None:
        with path.open("a") as stream:
            stream.write(text)

    add("same\n" * 3_000 + "beg")
    steps = follow(path, 2)
    assert next(steps) == ["same", "beg"]
    add("inning\nsame\nsame\n")
    assert next(steps) == ["beginning", "same", "same"]
    add("before the rotation\ncut by ")
    rotate(tmp_path, max_bytes=30_000)
    assert path.stat().st_size == 0
    add("it\nafter\n")
    assert next(steps) == ["before the rotation", "cut by it", "after"]
    add("same\n")
    assert (next(steps), next(steps)) == (["same"], [])
    path.unlink()
    assert next(steps) == []


def test_what_was_read_once_is_not_read_again(tmp_path: Path):
    def count() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    path = tmp_path / "a.log"
    write(path, 0, 50_000)
    steps = follow(path, 2)
    next(steps)
    before = count()
    write(path, 0, 1)
    assert next(steps) == [line(0)]
    assert count() - before < 1_000_000


@pytest.mark.parametrize("name", ["../../secret", "a.log"])
def test_logs_are_of_functions_and_sources_only(name: str, tmp_path: Path):
    state = StateDirectory(root=tmp_path / "state")
    state.prepare()
    (tmp_path / "secret.log").write_text("outside\n")
    for known in ("digits", "digits.inbox"):
        state.log(known).write_text(f"of {known}\n")
    platform = LocalPlatform(state.root)
    assert platform.logs("digits.inbox") == ["of digits.inbox"]
    with pytest.raises(NotFoundError, match=r"\(logs exist for: digits, digits\.inbox\)"):
        platform.logs(name)

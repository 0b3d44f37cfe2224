"""Log files of processes: bounded, and read across the rotation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eaves.errors import NotFoundError
from eaves.local.client import LocalPlatform
from eaves.local.processes.logs import rotate, tail, tail_source
from eaves.local.processes.process import Process
from eaves.local.state import StateDirectory
from tests.waiting import wait_until

MAX_BYTES = 20_000
MANY_BYTES = 2_000_000


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


def test_a_line_longer_than_the_bound_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 50_000)
    rotate(tmp_path, max_bytes=MAX_BYTES)
    assert sizes(tmp_path) <= MAX_BYTES


def test_a_link_in_the_folder_of_logs_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "mine").write_bytes(b"x" * 50_000)
    (tmp_path / "logs/a.log").symlink_to(tmp_path / "mine")
    rotate(tmp_path / "logs", max_bytes=MAX_BYTES)
    assert (tmp_path / "mine").stat().st_size == 50_000


CHATTY = """
import sys
for number in range(40_000):
    print(f"line {number:06d} " + "x" * 87, flush=True)
"""


def test_a_process_that_writes_on_is_never_held_up_and_its_log_stays_bounded(tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(CHATTY)
    path = tmp_path / "logs/chatty.log"
    path.parent.mkdir()
    with path.open("ab") as stream:
        child = subprocess.Popen([sys.executable, tmp_path / "chatty.py"], stdout=stream)
    kept: set[str] = set()
    largest = 0

    def finished() -> bool:
        nonlocal largest
        ended = child.poll() is not None
        rotate(path.parent, max_bytes=MANY_BYTES)
        largest = max(largest, sizes(path.parent))
        kept.update(file.read_text() for file in path.parent.glob("*.1"))
        return ended

    wait_until(finished, 60, pause_s=0.001, what="the process's end")
    assert child.returncode == 0
    assert tail(path, 1) == [line(39_999)]
    assert largest < 2 * MANY_BYTES
    lines = {found for text in [*kept, path.read_text()] for found in text.splitlines()}
    assert len(kept) > 1
    assert len(lines & {line(number) for number in range(40_000)}) > 30_000  # few are lost at each rotation


def test_the_log_of_a_real_child_continues_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "logs/a.log"
    path.parent.mkdir()
    write(path, 0, 150)
    process = Process("this", {}, path, inherit=os.environ)  # the Zen of Python, at the end of the log
    wait_until(lambda: not process.running, 30, what="the child's end")
    rotate(path.parent, max_bytes=MAX_BYTES)
    assert path.read_text() == ""
    assert "Namespaces" in tail(path, 1)[0]


def test_lines_of_one_source_are_distinguished_from_those_of_its_agents_others(tmp_path: Path) -> None:
    path = tmp_path / "a.agent.log"
    sources = ["inbox", "gate", "inbox-2", "inbox"]
    written = [json.dumps({"message": str(at), "source": f"/eaves/home/{name}"}) for at, name in enumerate(sources)]
    path.write_text("\n".join([*written[:2], "a word of Python's", "[1]", '{"message": "of all"}', *written[2:], ""]))

    assert tail_source(path, 10, "inbox") == [written[0], written[3]]
    assert tail_source(path, 1, "inbox") == [written[3]]


@pytest.mark.parametrize("name", ["../../secret", "..", ".", "", "a/b", "a.b.c", "A", "a\x00", "a.", ".a", "a.log"])
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

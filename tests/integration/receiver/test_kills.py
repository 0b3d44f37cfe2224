"""A receiver that is killed, or whose disk is full, has lost nothing that it answered for."""

import http.client
import json
import os
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.link.archive import name_image
from tests.disks import can_mount, run_on_disk
from tests.processes.receiving import ReceiverProcess, captured, classified
from tests.syscalls import needs_strace
from tests.waiting import wait_until


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    with ReceiverProcess(tmp_path) as started:
        yield started


@pytest.fixture
def unstarted(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """One that writes into a folder."""
    made = ReceiverProcess(tmp_path, EAVES_FOLDER=str(tmp_path / "received"))
    try:
        yield made
    finally:
        made.stop(signal.SIGKILL)


@needs_strace
def test_a_kill_between_the_commit_and_the_answer_makes_a_repetition(unstarted: ReceiverProcess):
    """The system call of a connection's second answer kills the process: the relay has none, and sends again."""
    receiver = unstarted
    receiver.start()
    receiver.stop()
    receiver.launch("strace", "-f", "-o", os.devnull, "-e", "trace=sendto", "-e", "inject=sendto:signal=KILL:when=2")
    wait_until(receiver.is_answering, 30, what="the receiver")
    with receiver.sender() as sender:
        sender.send([classified(0)])
        with pytest.raises((OSError, http.client.HTTPException)):
            sender.send([classified(1), classified(2)])
    receiver.wait()
    receiver.start()
    with receiver.sender() as sender:
        answer = sender.send([classified(1), classified(2), classified(3)])
    assert (answer.stored, answer.repeated) == (1, 2)


def read_lines(folder: Path) -> list[dict[str, object]]:
    return [
        json.loads(line) for path in sorted(folder.glob("events-*.jsonl")) for line in path.read_text().splitlines()
    ]


def list_written(folder: Path) -> list[str]:
    return [str(line["id"]) for line in read_lines(folder)]


def send(receiver: ReceiverProcess, events: Sequence[Event]) -> None:
    with receiver.sender() as sender:
        sender.send(events)


LINES = f"events-{datetime.now(UTC):%Y-%m-%d}.jsonl"
IMAGE = f"images/mill/.{Path(name_image(captured(0))).name}.tmp"
CALLS = (
    *(("write", LINES), ("fsync", LINES), ("write", IMAGE), ("fsync", IMAGE), ("rename", IMAGE), ("openat", LINES)),
    *(("fsync", "."), ("fdatasync", ""), ("pwrite64", "")),
)
"""System calls, each with the file in the folder that it is about, or with any file."""


@needs_strace
@pytest.mark.parametrize(("call", "file"), CALLS)
def test_a_kill_anywhere_writes_each_event_into_the_folder_once(
    tmp_path: Path, unstarted: ReceiverProcess, call: str, file: str
):
    """The process is killed at several calls of one kind, one after the other, and started again each time."""
    folder, receiver = tmp_path / "received", unstarted
    receiver.start()
    receiver.stop(signal.SIGKILL)
    events = [captured(number) for number in range(6)] + [classified(number) for number in range(6)]
    only = ["-P", str((folder / file).absolute())] if file else []
    for when in (1, 2):
        nth = 1 if only else when * 4
        receiver.launch(
            *("strace", "-f", "-o", os.devnull, *only, "-e", f"trace={call}"),
            *("-e", f"inject={call}:signal=KILL:when={nth}"),
        )
        try:
            wait_until(receiver.is_answering, 30, what="the receiver")
            send(receiver, events[6 * when - 6 : 6 * when])
            wait_until(lambda: not receiver.is_answering(), 0.5)
        except (OSError, http.client.HTTPException, AssertionError):
            pass  # killed before it answered, or not at all
        receiver.stop(signal.SIGKILL)
    receiver.start()
    send(receiver, events)
    wait_until(lambda: len(list_written(folder)) >= len(events), 20, what="all lines")
    wait_until(lambda: not receiver.report()["queued_bytes"], what="an empty queue")
    assert sorted(list_written(folder)) == sorted(event.id for event in events)
    for event in events[:6]:
        assert (folder / name_image(event)).read_bytes() == event.data


SENDING = """
import sys, time
from pathlib import Path
from eaves.errors import StorageError
from tests.processes.receiving import ReceiverProcess, classified
from tests.waiting import wait_until

here = Path.cwd()
with ReceiverProcess(here) as receiver, receiver.sender() as sender:
    stored = 0
    status = 200
    while status == 200:
        status, body = sender.try_send([classified(stored)])
        stored += status == 200
    assert status in (429, 503), (status, body)
    (here / "filler").unlink()
    wait_until(lambda: sender.try_send([classified(stored)])[0] == 200, 20)
    again = sender.send([classified(number) for number in range(stored + 1)])
    assert again.repeated == stored + 1, again
"""


@pytest.mark.disk
def test_a_full_disk_is_answered_and_nothing_that_was_answered_for_is_missing(tmp_path: Path):
    if not can_mount():
        pytest.skip("mounting a tmpfs needs root and unshare(1)")
    root = Path(__file__).parents[3]
    folder = tmp_path / "disk"
    folder.mkdir()
    code = f"import sys; sys.path.insert(0, {str(root)!r})\n{SENDING}"
    done = run_on_disk(
        ["-c", code], folder, size_kb=4_096, before="dd if=/dev/zero of=filler bs=1k count=3000 2>/dev/null"
    )
    assert done.returncode == 0, done.stderr

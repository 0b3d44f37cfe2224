"""The folder source by a clock that the test turns: which files are taken, when, and what is waited for."""

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest

from eaves.errors import SpoolFullError
from eaves.sources.folder.source import MAX_CANDIDATES, RESCAN_S
from eaves.sources.options import FrameOptions
from tests.fakes.sources.sent_index import DictIndex
from tests.sources.folders import PNG, Running, running
from tests.waiting import wait_until

OPEN, CLOSED = 60.0, 0.0
SCANNED = -1.0
"""Stands for a scan of the folder, which finds the file."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def reported(run: Running, name: str, *waits: float) -> None:
    for wait_s in waits:
        if wait_s == SCANNED:
            run.advance(RESCAN_S)
        else:
            run.tell(name, wait_s=wait_s)


@pytest.mark.parametrize("waits", [(OPEN,), (SCANNED, OPEN)])
def test_a_file_that_is_open_is_not_taken_before_its_time(folder: Path, waits: tuple[float, ...]):
    with running(folder, settle_s=30.0) as run:
        run.write("a.png")
        reported(run, "a.png", *waits)
        run.advance(OPEN - 1)
        assert run.subjects == []
        run.advance(2)
        assert run.subjects == ["a.png"]


@pytest.mark.parametrize("waits", [(OPEN, CLOSED), (SCANNED, CLOSED)])
def test_a_file_that_was_closed_is_taken_at_once(folder: Path, waits: tuple[float, ...]):
    with running(folder, settle_s=30.0) as run:
        run.write("a.png")
        reported(run, "a.png", *waits)
        run.advance(1)
        wait_until(lambda: run.subjects == ["a.png"])


def test_a_file_whose_time_is_set_by_name_after_it_was_closed_is_one_image(folder: Path):
    """`shutil.copy2` and Python's tarfile set the time of a file in this way."""
    with running(folder, settle_s=30.0) as run:
        path = run.write("a.png")
        run.tell("a.png")
        wait_until(lambda: 0 < (run.clock.next_due_s() or 0.0) <= 0.2, what="a source that waits a moment longer")
        os.utime(path, ns=(5, 5))
        run.tell("a.png", wait_s=OPEN)
        run.advance(2 * RESCAN_S)
        assert run.subjects == ["a.png"]


@pytest.mark.parametrize("polling", [False, True])
def test_files_that_nobody_tells_of_are_found_by_the_next_scan(folder: Path, polling: bool):
    with running(folder, settle_s=1.0, polling=polling, poll_s=RESCAN_S) as run:
        run.advance(10)
        run.write("deep/er/a.png")
        run.advance(RESCAN_S - 11)
        assert run.subjects == []
        run.advance(3)
        assert run.subjects == ["deep/er/a.png"]
        assert bool(run.kernel.watches) is not polling


def test_images_are_sent_in_the_order_they_were_taken(folder: Path):
    with running(folder, polling=True, settle_s=5.0) as run:
        for number, name in enumerate(("c.png", "a.png", "b.png")):
            os.utime(run.write(name), ns=(number, number))
        run.advance(20)
        assert run.subjects == ["c.png", "a.png", "b.png"]


@pytest.mark.long("hundreds of files settle before they are sent")
def test_a_folder_that_is_missing_is_waited_for_and_so_is_one_that_goes(folder: Path, caplog: pytest.LogCaptureFixture):
    folder.rmdir()
    caplog.set_level(logging.INFO)
    with running(folder, settle_s=0.0) as run:
        run.advance(3600)
        assert (run.counters.state, run.counters.reason) == (
            "waiting",
            f"folder {folder} can't be opened: No such file or directory; capture is paused until it can be opened",
        )
        folder.mkdir()
        run.write("a.png")
        run.advance(15)
        assert (run.counters.state, run.counters.reason, run.subjects) == ("watching", "", ["a.png"])
        shutil.rmtree(folder)
        run.advance(3600)
        assert run.counters.state == "waiting"
        folder.mkdir()
        run.write("b.png")
        run.advance(15)
        assert run.subjects == ["a.png", "b.png"]
        assert [watch.closed for watch in run.kernel.watches] == [True, False]
    reported = [record.getMessage() for record in caplog.records if not record.getMessage().startswith("captured")]
    assert [text.split(":")[0] for text in reported] == [
        "source cam is waiting",
        "source cam is watching",
        "source cam is waiting",
        "source cam is watching",
    ]


def test_a_folder_that_was_replaced_is_watched_and_scanned_anew(folder: Path):
    with running(folder, settle_s=0.0) as run:
        run.advance(30)
        folder.rename(folder.with_name("old"))
        folder.mkdir()
        run.write("a.png")
        run.advance(6)
        assert run.subjects == ["a.png"]
        assert [watch.closed for watch in run.kernel.watches] == [True, False]


def test_a_folder_that_the_kernel_cannot_watch_is_polled(folder: Path, caplog: pytest.LogCaptureFixture):
    folder.rmdir()
    with running(folder, settle_s=0.0) as run:
        run.kernel.error = OSError(errno.ENOSPC, "inotify watch limit reached")
        folder.mkdir()
        run.advance(15)
        run.write("a.png")
        run.advance(2)
        assert run.subjects == ["a.png"]
    assert sum("the folder is scanned regularly" in record.getMessage() for record in caplog.records) == 1


def test_more_files_at_once_than_may_wait_are_all_sent(folder: Path):
    with running(folder, settle_s=1.0) as run:
        for number in range(MAX_CANDIDATES + 100):
            (folder / f"{number:05}.png").write_bytes(PNG)
            run.tell(f"{number:05}.png", wait_s=5.0)
        run.advance(12)
        assert len(run.events) == len(set(run.subjects)) == MAX_CANDIDATES + 100


def test_a_full_spool_pauses_capture_and_says_so_once(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    with running(folder, polling=True, settle_s=0.0) as run:
        run.advance(5)
        run.refusal = lambda event: SpoolFullError("full")
        run.write("a.png")
        run.advance(7200)
        assert (run.counters.state, run.subjects) == ("paused", [])
        assert run.counters.reason == "spool is full (1 GB); capture is paused until events are delivered"
        run.refusal = lambda event: None
        run.advance(10)
        assert run.subjects == ["a.png"]
        assert (run.counters.state, run.counters.reason) == ("watching", "")
    messages = [record.getMessage() for record in caplog.records]
    assert [text for text in messages if "full" in text or "watching" in text] == [
        "source cam is watching",
        "source cam is paused: spool is full (1 GB); capture is paused until events are delivered",
        "source cam is watching",
    ]


def test_a_folder_with_more_images_than_can_be_remembered_pauses_capture_until_some_are_removed(folder: Path):
    with running(folder, polling=True, settle_s=0.0, max_files=5) as run:
        for number in range(8):
            run.write(f"{number}.png")
            run.advance(15)
        run.advance(3600)
        assert len(run.events) == 4  # the fifth would make it full
        assert run.counters.state == "paused"
        assert run.counters.reason.startswith(f"folder {folder} contains max_files images (5); capture is paused")
        for subject in run.subjects:
            (folder / subject).unlink()
        run.advance(60)
        assert (run.counters.reason, len(set(run.subjects)), len(run.subjects)) == ("", 8, 8)


def test_an_image_that_is_too_large_is_refused_once_and_holds_up_no_other(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    with running(folder, polling=True, settle_s=0.0, max_bytes=1000) as run:
        run.write("a.png", PNG + bytes(1000))
        run.write("b.png", PNG + bytes(992))
        run.advance(600)
        assert run.subjects == ["b.png"]
        assert run.counters.dropped == {"too_large": 1}
        assert run.counters.captured == 1
        assert run.counters.last_captured_at == pytest.approx(run.clock.now(), abs=600)
    assert [r.getMessage() for r in caplog.records] == [
        "source cam: not captured (too_large): a.png: it has 1008 bytes, more than 1000"
    ]


def test_a_file_that_becomes_a_link_is_not_read_but_counted_once(folder: Path, tmp_path: Path):
    """The link leads to a file of the same size and time, which only the agent may read."""
    secret = tmp_path / "secret.key"
    secret.write_bytes(b"TOP SECRET 16 by")
    with running(folder, settle_s=0.0) as run:
        decoy = run.write("a.png", b"x" * 16)
        for path in (secret, decoy):
            os.utime(path, ns=(5, 5))
        run.tell("a.png", wait_s=5.0)
        decoy.unlink()
        decoy.symlink_to(secret)
        run.advance(10)
        run.write("z.png")
        run.tell("z.png")
        run.advance(1)
        wait_until(lambda: run.subjects == ["z.png"])
        assert run.counters.dropped == {"unreadable": 1}
        decoy.unlink()
        os.utime(run.write("a.png", b"x" * 16), ns=(5, 5))
        run.advance(RESCAN_S)
        assert run.subjects == ["z.png", "a.png"]


def test_a_file_that_fails_unexpectedly_holds_up_no_other(folder: Path, caplog: pytest.LogCaptureFixture):
    with running(folder, polling=True, settle_s=0.0) as run:
        run.refusal = lambda event: RuntimeError("a bug") if event.subject == "a.png" else None
        run.write("a.png")
        run.write("b.png")
        run.advance(60)
        assert (run.subjects, run.counters.dropped) == (["b.png"], {"failed": 1})
        run.refusal = lambda event: None
        run.advance(60)
        assert run.subjects == ["b.png", "a.png"]
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info is not None


def test_what_an_option_left_out_is_taken_once_the_option_is_another(folder: Path):
    rare, index = FrameOptions(rate="1/h"), DictIndex()
    with running(folder, index, polling=True, settle_s=1.0, options=rare) as run:
        for number, name in enumerate(("a.png", "b.png")):
            os.utime(run.write(name), ns=(number, number))
        run.advance(5)
        assert run.subjects == ["a.png"]
        index.put(run.events[0].id)  # as the spool does
    for options, expected in ((rare, []), (FrameOptions(), ["b.png"])):
        with running(folder, index, polling=True, settle_s=1.0, options=options) as run:
            run.advance(5)
            assert run.subjects == expected


def test_a_file_that_is_overwritten_all_the_time_is_taken_again_and_again(folder: Path):
    with running(folder, settle_s=30.0) as run:
        for number in range(100):
            os.utime(run.write("latest.png"), ns=(number, number))
            run.tell("latest.png")
            run.advance(0.1)
        assert 2 <= len(run.events) <= 12

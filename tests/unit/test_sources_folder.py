"""When a file counts as complete, whoever tells of it and in whatever order."""

from __future__ import annotations

from pathlib import Path
from threading import Event as Flag
from threading import Thread

import pytest

from eaves.events import Event
from eaves.sources.folder import FolderSource
from eaves.sources.settings import AgentSettings
from tests.waiting import wait_until

OPEN, SCANNED, CLOSED = 60.0, 0.01, 0.0


def emitted(folder: Path, *waits: float) -> list[str]:
    """The images that come of being told of one file with these waits, before another one that was closed comes."""
    events: list[Event] = []
    settings = AgentSettings(path=folder, settle_s=OPEN, sink="http://127.0.0.1:1")
    source = FolderSource(settings, known=lambda _source, _id: False, emit=events.append)
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for wait_s in waits:
        source.notice(folder / "a.png", wait_s=wait_s)
    (folder / "z.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    source.notice(folder / "z.png", wait_s=CLOSED)
    stop = Flag()
    thread = Thread(target=source.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: any(event.subject == "z.png" for event in events), 20, what="the other image")
    finally:
        stop.set()
        thread.join()
    return sorted(str(event.subject) for event in events)


@pytest.mark.parametrize("waits", [(OPEN, SCANNED), (SCANNED, OPEN), (OPEN,), (OPEN, SCANNED, OPEN)])
def test_a_file_that_is_open_is_not_taken_by_looking_into_the_folder(tmp_path: Path, waits: tuple[float, ...]) -> None:
    """A scan of the folder doesn't know that it is open, and must not cut its wait short."""
    assert emitted(tmp_path, *waits) == ["z.png"]


@pytest.mark.parametrize(
    "waits", [(CLOSED,), (OPEN, CLOSED), (OPEN, CLOSED, OPEN), (CLOSED, SCANNED), (SCANNED, CLOSED)]
)
def test_a_file_that_was_closed_is_taken_at_once(tmp_path: Path, waits: tuple[float, ...]) -> None:
    assert emitted(tmp_path, *waits) == ["a.png", "z.png"]

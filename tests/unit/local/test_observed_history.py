from __future__ import annotations

from pathlib import Path

from eaves.events import IMAGE_CAPTURED, Event
from eaves.history import FileHistory, read_history
from eaves.local.observed_history import ObservedHistory


def test_what_is_kept_of_an_event_is_there_before_its_record_and_the_printer_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    seen: list[tuple[str, int]] = []
    history = ObservedHistory(
        FileHistory(path),
        lambda event: seen.append(("after", len(read_history(path)))),
        before=lambda event: seen.append(("before", len(read_history(path)))),
    )
    history.add(Event(id="1", source="/a", type=IMAGE_CAPTURED))
    history.close()
    assert seen == [("before", 0), ("after", 1)]

"""What flowed, for people: order, limits, and no image ever kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.errors import PlatformError
from eaves.events import Event
from eaves.history import KEEP, MAX_TEXT, FileHistory


def event(number: int = 0, **changes: object) -> Event:
    values: dict[str, object] = {"id": str(number), "source": "/s", "type": "t", **changes}
    return Event(**values)  # type: ignore[arg-type]


@pytest.fixture
def history(tmp_path: Path) -> FileHistory:
    return FileHistory(tmp_path / "history.db")


def test_a_record_says_what_the_event_was(history: FileHistory) -> None:
    history.add(
        event(7, subject="Tür.jpg", extensions={"label": "grün"}, data=b'{"a": 1}', datacontenttype="application/json")
    )
    (record,) = history.read()
    assert (record.seq, record.id, record.source, record.type) == (1, "7", "/s", "t")
    assert (record.subject, record.extensions, record.size_bytes) == ("Tür.jpg", {"label": "grün"}, 8)
    assert record.text == '{"a": 1}'
    assert record.at > 1.7e9


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("application/json", "[1]"),
        ("application/problem+json", "[1]"),
        ("Application/JSON; charset=utf-8", "[1]"),
        ("image/jpeg", ""),
        ("application/x-notjson", ""),
        (None, ""),
    ],
)
def test_only_json_is_kept_as_text(history: FileHistory, content_type: str | None, text: str) -> None:
    history.add(event(data=b"[1]", datacontenttype=content_type))
    (record,) = history.read()
    assert (record.text, record.size_bytes, record.subject) == (text, 3, "")


def test_long_text_is_cut(history: FileHistory) -> None:
    history.add(event(data=b"\xff" + b"x" * 5000, datacontenttype="application/json"))
    (record,) = history.read()
    assert len(record.text) == MAX_TEXT
    assert record.size_bytes == 5001


def test_the_newest_come_oldest_first(history: FileHistory) -> None:
    for number in range(5):
        history.add(event(number))
    assert [record.id for record in history.read(limit=2)] == ["3", "4"]
    assert [record.id for record in history.read(after=2)] == ["2", "3", "4"]
    assert [record.id for record in history.read(after=2, limit=1)] == ["4"]
    assert history.read(after=5) == []


def test_another_process_reads_while_one_writes(history: FileHistory, tmp_path: Path) -> None:
    reader = FileHistory(tmp_path / "history.db")
    history.add(event(1))
    assert [record.id for record in reader.read()] == ["1"]
    reader.close()
    history.add(event(2))
    history.close()
    assert [record.id for record in FileHistory(tmp_path / "history.db").read()] == ["1", "2"]


def test_old_records_go(history: FileHistory) -> None:
    for number in range(KEEP + 200):
        history.add(event(number))
    records = history.read(limit=2 * KEEP)
    assert KEEP <= len(records) < KEEP + 100
    assert records[-1].id == str(KEEP + 199)


def test_a_file_that_is_none_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"not a database, and longer than a header " * 10)
    with pytest.raises(PlatformError, match=r"history\.db can't be opened") as caught:
        FileHistory(tmp_path / "history.db")
    assert "remove" in (caught.value.hint or "")


def test_a_history_that_can_not_be_written_stops_nothing(
    history: FileHistory, caplog: pytest.LogCaptureFixture
) -> None:
    """Losing a record loses no event, so it must not refuse one either."""
    history.close()
    history.add(event(1))
    assert "not recorded" in caplog.text

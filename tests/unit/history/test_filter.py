"""A filter finds what it says."""

from dataclasses import replace

import pytest

from eaves.events import IMAGE_CLASSIFIED
from eaves.history import FileHistory, HistoryReader, RecordFilter
from tests.fakes.clock import START, ManualClock
from tests.fakes.console.material import build_flow, captured_event, classified_event

HOSTILE = "'; DROP TABLE records; -- \"<script>\\u0041\n\t%_\\"

FILTERS: dict[str, tuple[RecordFilter, int]] = {
    "a label that is the start of another": (RecordFilter(label="ros"), 0),
    "a hostile label": (RecordFilter(label=HOSTILE), 1),
    "a source": (RecordFilter(source="camera-1"), 30),
    "the end of a name": (RecordFilter(source="era-1"), 0),
    "since": (RecordFilter(since=START + 20), 46),
    "until": (RecordFilter(until=START + 20), 21),
    "a text in capitals": (RecordFilter(text="FRAME-2.J"), 2),
    "a text with wildcards": (RecordFilter(text="%_"), 5),
    "all at once": (
        RecordFilter(
            types=(IMAGE_CLASSIFIED,),
            source="camera-2",
            label="tulip",
            confidence="high",
            since=START,
            until=START + 60,
            text="frame",
        ),
        3,
    ),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> HistoryReader:
    path = tmp_path_factory.mktemp("history") / "history.db"
    clock = ManualClock()
    history = FileHistory(path, clock=clock)
    strange = captured_event(90, source="cam'era", subject="Tür/100 %_.jpg")
    events = [
        *build_flow(30, with_images=False).events,
        strange,
        classified_event(strange, label=HOSTILE),
        classified_event(strange, label="grün ☃", function="other"),
        classified_event(strange, label=""),
        replace(strange, source=HOSTILE, extensions={}),
        replace(strange, source="", subject=None),
    ]
    for event in events:
        history.add(event)
        clock.turn(1)
    history.close()
    return HistoryReader(path)


def test_the_file_has_what_the_filter_matches(reader: HistoryReader):
    found = {name: len(reader.find(wanted, limit=1_000)) for name, (wanted, _) in FILTERS.items()}
    assert found == {name: count for name, (_, count) in FILTERS.items()}

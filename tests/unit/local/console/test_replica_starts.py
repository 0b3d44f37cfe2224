from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from eaves.console.backend import ReplicaStart
from eaves.local.console.replica_starts import KEEP, ReplicaStarts, add_phases, find_logged_starts

AT = 1_795_724_000.0
STAGES = {
    "interpreter": 20.0,
    "import functions.model.model_loading": 120.0,
    "open session": 300.0,
    "golden check": 350.0,
    "listening": 200.0,
    "first probe": 380.0,
    "first request": 390.0,
    "first prediction": 400.0,
}


def start(at: float = AT, total_ms: float = 420.0) -> ReplicaStart:
    return ReplicaStart(function="flowers", at=at, total_ms=total_ms, phases_ms={}, method="fork")


def line(executed_at: float, stages: dict[str, float]) -> str:
    """The line that a replica logs after its first prediction."""
    moment = datetime.fromtimestamp(executed_at + stages["first prediction"] / 1000, UTC)
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": text, "level": "info", "message": "duration of each step", "start_ms": stages})


def test_the_oldest_starts_are_forgotten() -> None:
    kept = ReplicaStarts()
    for number in range(KEEP + 50):
        kept.add(start(AT + number))
    found = kept.read()
    assert len(found) == KEEP
    assert (found[0].at, found[-1].at) == (AT + 50, AT + KEEP + 49)


def test_a_start_gets_the_phases_that_its_replica_has_logged_and_they_add_up() -> None:
    (found,) = add_phases([start()], list(find_logged_starts([line(AT + 0.03, STAGES)])))
    assert dict(found.phases_ms) == pytest.approx(
        {
            "launch": 30,
            "interpreter": 20,
            "imports": 100,
            "session": 180,
            "golden": 50,
            "server": 0,
            "probe": 40,
        },
        abs=0.11,
    )
    assert list(found.phases_ms)[:3] == ["launch", "interpreter", "imports"]
    assert sum(found.phases_ms.values()) == pytest.approx(found.total_ms, abs=0.5)


def test_each_of_several_starts_gets_its_own_phases_and_one_without_a_prediction_has_none() -> None:
    other = STAGES | {"interpreter": 90.0}
    logged = list(find_logged_starts([line(AT + 0.01, STAGES), line(AT + 60.01, other)]))
    first, middle, last = add_phases([start(), start(AT + 30), start(AT + 60)], logged)
    assert first.phases_ms["interpreter"] == pytest.approx(20, abs=0.2)
    assert middle.phases_ms == {}
    assert last.phases_ms["interpreter"] == pytest.approx(90, abs=0.2)


def test_phases_are_given_to_one_start_only() -> None:
    logged = list(find_logged_starts([line(AT + 0.01, STAGES)]))
    found = add_phases([start(), start(AT + 0.1)], logged)
    assert [bool(one.phases_ms) for one in found] == [True, False]


def test_phases_of_an_earlier_start_are_given_to_none() -> None:
    logged = list(find_logged_starts([line(AT - 3600, STAGES), line(AT + 3600, STAGES)]))
    (found,) = add_phases([start()], logged)
    assert found.phases_ms == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"start_ms"',
        '{"start_ms": 1}',
        '{"start_ms": {"first prediction": "soon"}, "time": "2026-11-26T20:00:00Z"}',
        '{"start_ms": {}, "time": "2026-11-26T20:00:00Z"}',
        '{"start_ms": {"first prediction": 1}, "time": "yesterday"}',
        '{"start_ms": {"first prediction": 1}}',
        '["start_ms"]',
        '{"start_ms": ' + "[" * 100_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_line_that_a_handler_wrote_is_ignored(text: str) -> None:
    assert list(find_logged_starts([text])) == []

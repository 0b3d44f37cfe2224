"""The state of a function in words."""

from __future__ import annotations

import pytest

from eaves.admin.summary import AgentStatus
from eaves.console.model.functions.latency import Latency
from eaves.console.model.functions.state import (
    ASLEEP,
    FAILING,
    OK,
    STARTING,
    build_row,
    describe_predictions,
    describe_state,
    describe_too_few,
)
from eaves.platform import FunctionStatus


@pytest.mark.parametrize(
    ("state", "tone", "word", "meaning"),
    [
        ("ready", OK, "ready", "answers at once"),
        ("idle", ASLEEP, "asleep", "starts with the next image"),
        ("starting", STARTING, "starting", "answers as soon as it has started"),
        ("failed", FAILING, "failed", "can't answer"),
        ("degraded", FAILING, "limited", "answers, but another part of its app isn't ready"),
        ("stopped", ASLEEP, "stopped", "nothing runs it: start `eaves up`"),
        ("of another version", STARTING, "of another version", ""),
    ],
)
def test_each_state_has_words(state: str, tone: str, word: str, meaning: str) -> None:
    found = describe_state(FunctionStatus(name="flowers", state=state))
    assert (found.tone, found.word, found.meaning) == (tone, word, meaning)


def test_a_failed_function_has_its_reason_and_fix() -> None:
    status = FunctionStatus(
        name="f", state="failed", reason='answered 500: {"detail": "no memory"}', fix="eaves logs f"
    )
    found = describe_state(status)
    assert (found.reason, found.fix) == ("answered 500: no memory", "eaves logs f")


def test_entries_at_the_sources_are_counted_beside_those_of_the_function() -> None:
    agents = (AgentStatus(name="f", queued=4, dead=1), AgentStatus(name="f.relay", queued=3, dead=0))
    row = build_row(FunctionStatus(name="f", state="idle", queued=2, dead=5, agents=agents), None, 0.0)
    assert (row.queued, row.agents_queued, row.all_queued) == (2, 7, 9)
    assert (row.dead, row.agents_dead, row.all_dead) == (5, 1, 6)
    silent = AgentStatus(name="f", state="unknown")
    row = build_row(FunctionStatus(name="f", state="idle", dead=5, agents=(silent,)), None, 0.0)
    assert (row.agents_dead, row.all_dead) == (None, 5)


def test_the_number_of_predictions_names_its_time() -> None:
    assert describe_predictions(None, 0.0) == "unknown"
    assert describe_predictions(Latency(), 0.0) == "0 in the last hour"
    known = Latency(predictions=1_500, since=0.0, last_hour=1_200)
    assert describe_predictions(known, 5_000.0) == "1,200 in the last hour"
    full = Latency(predictions=500, since=100.0, last_hour=500, is_full=True, is_hour_known=False)
    assert describe_predictions(full, 820.0) == "500 in the last 12 minutes"


def test_too_few_predictions_are_named() -> None:
    assert describe_too_few(Latency()) == ""
    assert describe_too_few(Latency(predictions=7)) == "only 7 predictions: too few for p95 and p99"
    assert describe_too_few(Latency(predictions=1)) == "only 1 prediction: too few for p50, p95 and p99"
    assert describe_too_few(Latency(predictions=50)) == "only 50 predictions: too few for p99"
    assert describe_too_few(Latency(predictions=100)) == ""

"""A rollout's state as an annotation, and what becomes of one that somebody damaged."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.rollout import RolloutSettings
from eaves.rollout.counters import PodReading, RequestCounters, RevisionCounts, StepWindows, WindowTimes
from eaves.rollout.state import (
    RolloutPhase,
    RolloutState,
    parse_state,
    render_state,
)
from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.status.traffic import parse_rollout_status

TALLY = RequestCounters(answered=10**9, failed=3, refused=2, timed=9, seconds=0.123456)
TIMES = WindowTimes(windows=3, timed=9, seconds=0.5, squares=0.25)
FULL = RolloutState(
    old="a-1",
    new="a-2",
    phase=RolloutPhase.HELD,
    traffic={"a-1": 90, "a-2": 10},
    since=1_800_000_000.25,
    reason='it\'s "odd"\n',
    served=True,
    settings=RolloutSettings(steps=(), step_s=5.0, max_error_increase=0.0),
    counts=RevisionCounts(
        totals={"a-1": TALLY, "a-2": RequestCounters()},
        base={"a-1": TALLY},
        seen={"p": PodReading(restarts=2, tally=TALLY), "q": PodReading(unread=True)},
        windows=StepWindows(
            since=7.5,
            base={"a-1": TALLY},
            worst={"a-2": ({"a-1": TALLY}, {})},
            most_refused={"a-1": ()},
            times={"a-2": TIMES},
        ),
    ),
    observed=True,
)
STATE = RolloutState(old="a-1", new="a-2", phase=RolloutPhase.ADVANCING, traffic={"a-1": 90, "a-2": 10}, since=1000.0)


@pytest.mark.parametrize("state", [FULL, STATE], ids=["every member", "few members"])
def test_a_state_is_read_as_it_was_written(state: RolloutState):
    text = render_state(state)
    assert parse_state(text) == state
    assert render_state(parse_state(text)) == text


def test_what_is_as_usual_and_the_end_of_long_texts_are_not_reported():
    shares = {"a-1": 90, "a-2": 10}
    reported = {"old": "a-1", "new": "a-2", "phase": "advancing", "traffic": shares, "since": 1000}
    assert json.loads(render_state(STATE)) == reported
    assert len(render_state(replace(STATE, reason="x" * 10_000))) < 500


def test_members_of_a_later_version_are_passed_over():
    reported = json.loads(render_state(STATE)) | {"colour": "red", "settings": {"step_s": 5, "shadow": True}}
    state = parse_state(json.dumps(reported))
    assert state.settings == RolloutSettings(step_s=5)
    assert state.new == "a-2"


def test_windows_keep_an_annotation_small():
    counts = RevisionCounts()
    for number in range(1, 200):
        total = RequestCounters(answered=100 * number, failed=number, timed=100 * number, seconds=9.87654321 * number)
        counts = replace(counts, totals={"camera-flowers-00011": total, "camera-flowers-00012": total})
        counts = counts.close_window(STATE.since + 20 * number, STATE.since)
    state = replace(STATE, counts=counts)
    assert len(render_state(state)) - len(render_state(STATE)) < 3000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phase": "flying"}, "'flying' is not a valid RolloutPhase"),
        ({"new": None}, "str expected, got 'None'"),
        ({"old": "a-2"}, "its old and new revision are the same"),
        ({"traffic": {"a-1": 50, "a-2": 60}}, "its shares do not add up to 100 %"),
        ({"since": -1}, "-1 is not a number in the allowed range"),
        ({"since": True}, "float expected, got 'True'"),
        ({"since": float("nan")}, "float expected, got 'nan'"),
        ({"settings": {"min_requests": 0}}, "min_requests: must be >= 1"),
        ({"counts": {"windows": []}}, r"StepWindows expected, got '\[\]'"),
        ({"counts": {"windows": {"times": {"a-2": {"windows": 9, "timed": 3}}}}}, "3 predictions in 9 windows"),
    ],
)
def test_a_damaged_state_is_none_and_the_reason_is_reported(changes: dict[str, object], message: str):
    text = json.dumps(json.loads(render_state(STATE)) | changes)
    with pytest.raises(ValueError, match=message):
        parse_state(text)
    status = parse_rollout_status({"metadata": {"annotations": {ROLLOUT_ANNOTATION: text}}})
    assert status.state is None
    assert "so there is no rollout" in status.fault


def test_what_is_no_state_at_all_is_none():
    for text in ("{", "null", "[" * 100_000):
        with pytest.raises(ValueError, match=r"."):
            parse_state(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5), st.data())
def test_any_member_may_hold_anything(value: object, data: st.DataObject):
    reported = json.loads(render_state(STATE))
    name = data.draw(st.sampled_from([*reported, "reason", "served", "settings", "counts"]))
    status = parse_rollout_status(
        {"metadata": {"annotations": {ROLLOUT_ANNOTATION: json.dumps(reported | {name: value})}}}
    )
    assert (status.state is None) == bool(status.fault)

"""A rollout's state as an annotation, and what becomes of one that somebody damaged."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.rollout.counters import PodReading, RequestCounters, RevisionCounts, StepWindows, WindowTimes
from knative.rollout.state import MAX_TEXT, HistoryEntry, RolloutPhase, RolloutState, parse_state, render_state
from knative.rollout.status import parse_annotation
from knative.settings import RolloutSettings

TALLIES = st.builds(
    RequestCounters,
    answered=st.integers(0, 10**9),
    failed=st.integers(0, 10**6),
    refused=st.integers(0, 10**6),
    timed=st.integers(0, 10**9),
    seconds=st.floats(0, 10**6),
)
WINDOWS = st.dictionaries(
    st.sampled_from(["a-1", "a-2"]),
    st.builds(RequestCounters, answered=st.integers(0, 10**9), failed=st.integers(0, 10**6)),
    max_size=2,
)
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
STATES = st.builds(
    RolloutState,
    old=st.just("") | NAMES.map(lambda name: f"old-{name}"),
    new=NAMES,
    phase=st.sampled_from(RolloutPhase),
    traffic=st.integers(1, 99).map(lambda percent: {"a": percent, "b": 100 - percent}) | st.just({}),
    since=st.integers(0, 2 * 10**12).map(lambda thousandths: thousandths / 1000),
    reason=st.text(max_size=MAX_TEXT),
    served=st.booleans(),
    settings=st.builds(
        RolloutSettings,
        steps=st.sampled_from([(), ("10", "50"), ("1", "2", "99")]),
        step_s=st.floats(1, 86400),
        min_requests=st.integers(1, 10**6),
        max_error_increase=st.floats(0, 1),
    ),
    counts=st.builds(
        RevisionCounts,
        totals=st.dictionaries(NAMES, TALLIES, max_size=2),
        base=st.dictionaries(NAMES, TALLIES, max_size=2),
        seen=st.dictionaries(
            NAMES, st.builds(PodReading, unread=st.booleans(), restarts=st.integers(0, 99), tally=TALLIES), max_size=3
        ),
        windows=st.builds(
            StepWindows,
            since=st.integers(0, 2 * 10**12).map(lambda thousandths: thousandths / 1000),
            base=st.dictionaries(NAMES, TALLIES, max_size=2),
            worst=st.dictionaries(NAMES, st.lists(WINDOWS, max_size=2).map(tuple), max_size=2),
            most_refused=st.dictionaries(NAMES, st.lists(WINDOWS, max_size=2).map(tuple), max_size=2),
            times=st.dictionaries(
                NAMES,
                st.builds(
                    WindowTimes,
                    windows=st.integers(1, 99),
                    timed=st.integers(99, 10**9),
                    seconds=st.floats(0, 10**6),
                    squares=st.floats(0, 10**9),
                ),
                max_size=2,
            ),
        ),
    ),
    history=st.lists(
        st.builds(
            HistoryEntry, at=st.integers(0, 2 * 10**9).map(float), revision=NAMES, what=NAMES, why=st.text(max_size=20)
        ),
        max_size=3,
    ).map(tuple),
    to_retry=st.lists(NAMES, max_size=2).map(tuple),
)
STATE = RolloutState(old="a-1", new="a-2", phase=RolloutPhase.ADVANCING, traffic={"a-1": 90, "a-2": 10}, since=1000.0)


@given(STATES)
def test_a_state_is_read_as_it_was_written(state: RolloutState) -> None:
    text = render_state(state)
    assert parse_state(text) == state
    assert render_state(parse_state(text)) == text


def test_what_is_as_usual_is_not_reported() -> None:
    reported = {
        "old": "a-1",
        "new": "a-2",
        "phase": "advancing",
        "traffic": {"a-1": 90, "a-2": 10},
        "since": 1000,
    }
    assert json.loads(render_state(STATE)) == reported


def test_members_of_a_later_version_are_passed_over() -> None:
    reported = json.loads(render_state(STATE)) | {"colour": "red", "settings": {"step_s": 5, "shadow": True}}
    state = parse_state(json.dumps(reported))
    assert state.settings == RolloutSettings(step_s=5)
    assert state.new == "a-2"


def test_windows_keep_an_annotation_small() -> None:
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
        ({"phase": 3}, "3 is not a valid RolloutPhase"),
        ({"new": None}, "'None' is not a str"),
        ({"old": "a-2"}, "its old and new revision are the same"),
        ({"traffic": {"a-1": 50, "a-2": 60}}, "its shares do not add up to 100 %"),
        ({"traffic": {"a-1": 100, "a-2": 0}}, "its shares do not add up to 100 %"),
        ({"traffic": {"a-1": 99.5, "a-2": 0.5}}, "'99.5' is not a number in the allowed range"),
        ({"since": "yesterday"}, "'yesterday' is not a number"),
        ({"since": True}, "'True' is not a number"),
        ({"since": float("nan")}, "'nan' is not a number"),
        ({"settings": {"min_requests": 0}}, "min_requests: must be >= 1"),
        ({"settings": []}, "is not a dict"),
        ({"counts": {"totals": {"a-2": {"failed": -1}}}}, "'-1' is not a number"),
        ({"counts": {"windows": []}}, "is not a dict"),
        ({"counts": {"windows": {"times": {"a-2": {"windows": 9, "timed": 3}}}}}, "3 predictions in 9 windows"),
        ({"counts": {"windows": {"times": {"a-2": {}}}}}, "0 predictions in 0 windows are not possible"),
        ({"history": [{"at": 1}]}, "missing 1 required"),
        ({"history": {}}, "is not a list"),
    ],
)
def test_a_damaged_state_is_none_and_the_reason_is_reported(changes: dict[str, object], message: str) -> None:
    text = json.dumps(json.loads(render_state(STATE)) | changes)
    with pytest.raises(ValueError, match=message):
        parse_state(text)
    state, fault = parse_annotation({"metadata": {"annotations": {ROLLOUT_ANNOTATION: text}}})
    assert state is None
    assert "so there is no rollout" in fault


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", "[" * 100_000, '{"since":' + "9" * 5000 + "}"])
def test_what_is_no_state_at_all_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_state(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5), st.data())
def test_any_member_may_hold_anything(value: object, data: st.DataObject) -> None:
    reported = json.loads(render_state(STATE))
    name = data.draw(st.sampled_from([*reported, "reason", "served", "settings", "counts", "history"]))
    state, fault = parse_annotation(
        {"metadata": {"annotations": {ROLLOUT_ANNOTATION: json.dumps(reported | {name: value})}}}
    )
    assert (state is None) == bool(fault)


def test_a_service_without_the_annotation_has_no_rollout_and_no_fault() -> None:
    assert parse_annotation({}) == (None, "")
    assert parse_annotation({"metadata": {"annotations": None}}) == (None, "")


def test_a_long_reason_is_cut() -> None:
    state = RolloutState(old="", new="a", phase=RolloutPhase.HELD, reason="x" * 10_000)
    assert len(render_state(state)) < 500

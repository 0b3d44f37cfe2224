"""A rollout's state as an annotation, and what becomes of one that somebody damaged."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative.resources.metadata import ROLLOUT_ANNOTATION
from knative.rollout.annotation import MAX_TEXT, parse_state, render_state
from knative.rollout.metrics.counters import UNKNOWN, PodReading, RequestCounters, RevisionCounts
from knative.rollout.metrics.windows import StepWindows, WindowTimes
from knative.rollout.rollout_state import HistoryEntry, RolloutPhase, RolloutState
from knative.rollout.rollout_status import parse_annotation
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
            NAMES, st.builds(PodReading, restarts=st.integers(UNKNOWN, 99), tally=TALLIES), max_size=3
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
        "v": 2,
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


def test_a_state_of_version_1_is_read_and_measures_windows_from_then_on() -> None:
    reported = json.loads(render_state(STATE)) | {
        "v": 1,
        "totals": {"a-2": [40, 1, 0, 39, 3.9]},
        "base": {"a-2": [9, 0, 0, 9, 1]},
    }
    state = parse_state(json.dumps(reported))
    assert state.counts.step("a-2").judged == 32
    assert state.counts.windows == StepWindows()
    later = state.counts.close_window(STATE.since + 60, STATE.since)
    assert later.windows.worst["a-2"][0]["a-2"] == RequestCounters(answered=31, failed=1)


def test_windows_keep_an_annotation_small() -> None:
    counts = RevisionCounts()
    for number in range(1, 200):
        total = RequestCounters(answered=100 * number, failed=number, timed=100 * number, seconds=9.87654321 * number)
        counts = replace(counts, totals={"camera-flowers-00011": total, "camera-flowers-00012": total})
        counts = counts.close_window(STATE.since + 20 * number, STATE.since)
    state = replace(STATE, counts=counts)
    assert len(render_state(state)) - len(render_state(STATE)) < 1200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v": 3}, "it has the version 3; this version of Eaves reads up to 2"),
        ({"v": True}, "it has the version True"),
        ({"v": None}, "it has the version None"),
        ({"phase": "flying"}, "'flying' is not a valid RolloutPhase"),
        ({"phase": 3}, "'3' is not a string"),
        ({"new": None}, "'None' is not a string"),
        ({"old": "a-2"}, "its old and new revision are the same"),
        ({"traffic": {"a-1": 50, "a-2": 60}}, "its shares do not add up to 100 %"),
        ({"traffic": {"a-1": 100, "a-2": 0}}, "^0 is not a share in percent"),
        ({"traffic": {"a-1": 99.5, "a-2": 0.5}}, "99.5 is not a share in percent"),
        ({"traffic": ["a-1"]}, "is not an object"),
        ({"since": "yesterday"}, "'yesterday' is not a number"),
        ({"since": -1}, "'-1' is not a number"),
        ({"since": True}, "'True' is not a number"),
        ({"since": float("nan")}, "'nan' is not a number"),
        ({"since": float("inf")}, "'inf' is not a number"),
        ({"settings": {"min_requests": 0}}, "min_requests: must be >= 1"),
        ({"settings": {"steps": ["50", "10"]}}, "steps: must be increasing whole numbers"),
        ({"settings": []}, "is not an object"),
        ({"totals": {"a-2": [1, 2, 3]}}, "a list has 3 numbers instead of 5"),
        ({"totals": {"a-2": [-1, 0, 0, 0, 0]}}, "'-1' is not a number"),
        ({"windows": []}, "is not an object"),
        ({"windows": {"since": -1}}, "'-1' is not a number"),
        ({"windows": {"worst": {"a-2": [{"a-2": [1]}]}}}, "a list has 1 numbers instead of 2"),
        ({"windows": {"times": {"a-2": [9, 3, 1, 1]}}}, "3 predictions in 9 windows are not possible"),
        ({"windows": {"times": {"a-2": [0, 0, 0, 0]}}}, "0 predictions in 0 windows are not possible"),
        ({"pods": {"p": []}}, "not enough values"),
        ({"pods": {"p": [-2, 0, 0, 0, 0, 0]}}, "'-2' is not a number"),
        ({"history": [[1, "a-2"]]}, "not enough values"),
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


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", "[" * 100_000, '{"v":' + "9" * 5000 + "}"])
def test_what_is_no_state_at_all_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is not JSON: |it is not a JSON object"):
        parse_state(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5), st.data())
def test_any_member_may_hold_anything(value: object, data: st.DataObject) -> None:
    reported = json.loads(render_state(STATE))
    name = data.draw(
        st.sampled_from([*reported, "reason", "served", "settings", "totals", "base", "pods", "windows", "history"])
    )
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

"""A rollout's state as the JSON text of an annotation: it is rendered and parsed here. Pure.

Any user who may change a Service may change its annotations, and a newer version of Eaves may have written them. So an
unreadable annotation counts as no rollout, and never as a wrong one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from knative.rollout.metrics.counters import PodReading, RequestCounters, RevisionCounts
from knative.rollout.metrics.windows import LEFT_OUT, StepWindows, Window, WindowTimes
from knative.rollout.rollout_state import KEPT_ENTRIES, HistoryEntry, RolloutPhase, RolloutState
from knative.settings import RolloutSettings

VERSION = 2
OLDER = (1,)
"""Older versions of the annotation that can be parsed too.

Version 1 has no `windows`. For a rollout that was in a step, windows are measured from now on, and the tests and
default settings of this version of Eaves apply."""
MAX_TEXT = 300
"""Maximum characters of a reason that are stored, since a reason may quote a long message."""
MAX_NUMBER = 1e15
"""Maximum value of a number in the annotation. JSON may contain larger numbers, NaN and Infinity, which are refused."""

_T = TypeVar("_T")
_DEFAULTS = RolloutSettings()


def render_state(state: RolloutState) -> str:
    """Render the annotation's value. Equal states give equal text, and default values are left out."""
    document: dict[str, Any] = {
        "v": VERSION,
        "old": state.old,
        "new": state.new,
        "phase": state.phase.value,
        "traffic": dict(state.traffic),
        "since": round(state.since, 3),
        "reason": state.reason[:MAX_TEXT],
        "served": state.served,
        "settings": _render_settings(state.settings),
        "totals": {name: _numbers(tally) for name, tally in state.counts.totals.items()},
        "base": {name: _numbers(tally) for name, tally in state.counts.base.items()},
        "pods": {pod: [seen.restarts, *_numbers(seen.tally)] for pod, seen in state.counts.seen.items()},
        "windows": _render_windows(state.counts.windows),
        "retry": list(state.to_retry),
        "history": [[round(entry.at, 3), entry.revision, entry.what, entry.why[:MAX_TEXT]] for entry in state.history],
    }
    kept = {key: value for key, value in document.items() if value not in ("", {}, [], False, 0)}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_state(text: str) -> RolloutState:
    """Parse an annotation's value; members that this version doesn't know are left out.

    Raises:
        ValueError: When the value is unreadable or contradicts itself; the message names the fault.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(f"it is not JSON: {str(error)[:80]}") from error
    if not isinstance(document, dict):
        raise _damaged("it is not a JSON object")
    if document.get("v") not in (VERSION, *OLDER) or isinstance(document["v"], bool):
        raise _damaged(f"it has the version {str(document.get('v'))[:20]}; this version of Eaves reads up to {VERSION}")
    state = RolloutState(
        old=_text(document.get("old", "")),
        new=_text(document.get("new", "")),
        phase=RolloutPhase(_text(document.get("phase", ""))),
        traffic=_mapping(document.get("traffic", {}), _percent),
        since=_number(document.get("since", 0)),
        reason=_text(document.get("reason", "")),
        served=document.get("served") is True,
        settings=_parse_settings(document.get("settings", {})),
        counts=RevisionCounts(
            totals=_mapping(document.get("totals", {}), _parse_tally),
            base=_mapping(document.get("base", {}), _parse_tally),
            seen=_mapping(document.get("pods", {}), _parse_seen),
            windows=_parse_windows(document.get("windows", {})),
        ),
        history=tuple(map(_parse_entry, _list(document.get("history", []))))[-KEPT_ENTRIES:],
        to_retry=tuple(map(_text, _list(document.get("retry", [])))),
    )
    if state.traffic and sum(state.traffic.values()) != 100:
        raise _damaged("its shares do not add up to 100 %")
    if state.old and state.old == state.new:
        raise _damaged("its old and new revision are the same")
    return state


def _render_settings(settings: RolloutSettings) -> dict[str, Any]:
    values = {name: getattr(settings, name) for name in _names() if getattr(settings, name) != getattr(_DEFAULTS, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _parse_settings(values: object) -> RolloutSettings:
    known = {name: value for name, value in _object(values).items() if name in _names()}
    try:
        return build(RolloutSettings, SettingsLayer(origin="the annotation", values=known))
    except ConfigError as error:
        raise ValueError(str(error.faults[0])) from error


def _names() -> list[str]:
    return [field.name for field in dataclasses.fields(RolloutSettings)]


def _numbers(tally: RequestCounters) -> list[float]:
    return [tally.answered, tally.failed, tally.refused, tally.timed, tally.seconds]


def _parse_tally(values: object) -> RequestCounters:
    answered, failed, refused, timed, seconds = _row(values, 5)
    return RequestCounters(
        answered=int(answered), failed=int(failed), refused=int(refused), timed=int(timed), seconds=seconds
    )


def _parse_seen(values: object) -> PodReading:
    restarts, *rest = _list(values)
    return PodReading(restarts=int(_number(restarts, minimum=-1)), tally=_parse_tally(rest))


def _render_windows(windows: StepWindows) -> dict[str, Any]:
    document: dict[str, Any] = {
        "since": round(windows.since, 3),
        "base": {name: _numbers(tally) for name, tally in windows.base.items()},
        "worst": _render_worst(windows.worst),
        "refused": _render_worst(windows.most_refused),
        "times": {
            name: [times.windows, times.timed, times.seconds, times.squares] for name, times in windows.times.items()
        },
    }
    return {key: value for key, value in document.items() if value}


def _render_worst(worst: Mapping[str, tuple[Window, ...]]) -> dict[str, Any]:
    return {
        name: [{other: [tally.answered, tally.failed] for other, tally in window.items()} for window in some]
        for name, some in worst.items()
    }


def _parse_windows(values: object) -> StepWindows:
    document = _object(values)
    return StepWindows(
        since=_number(document.get("since", 0)),
        base=_mapping(document.get("base", {}), _parse_tally),
        worst=_mapping(document.get("worst", {}), _parse_worst),
        most_refused=_mapping(document.get("refused", {}), _parse_worst),
        times=_mapping(document.get("times", {}), _parse_times),
    )


def _parse_worst(values: object) -> tuple[Window, ...]:
    return tuple(_mapping(window, _parse_judged) for window in _list(values)[:LEFT_OUT])


def _parse_judged(values: object) -> RequestCounters:
    answered, failed = _row(values, 2)
    return RequestCounters(answered=int(answered), failed=int(failed))


def _parse_times(values: object) -> WindowTimes:
    windows, timed, seconds, squares = _row(values, 4)
    if not 1 <= windows <= timed:
        raise _damaged(f"{timed:g} predictions in {windows:g} windows are not possible")
    return WindowTimes(windows=int(windows), timed=int(timed), seconds=seconds, squares=squares)


def _parse_entry(values: object) -> HistoryEntry:
    at, revision, what, why = _list(values)
    return HistoryEntry(at=_number(at), revision=_text(revision), what=_text(what), why=_text(why))


def _row(values: object, size: int) -> list[float]:
    numbers = [_number(value) for value in _list(values)]
    if len(numbers) != size:
        raise _damaged(f"a list has {len(numbers)} numbers instead of {size}")
    return numbers


def _number(value: object, *, minimum: float = 0.0) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and minimum <= value < MAX_NUMBER:
        return float(value)
    raise _damaged(f"{str(value)[:40]!r} is not a number in the allowed range")


def _percent(value: object) -> int:
    number = _number(value)
    if not number.is_integer() or not 1 <= number <= 100:
        raise _damaged(f"{number:g} is not a share in percent")
    return int(number)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _damaged(f"{str(value)[:40]!r} is not a string")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _damaged(f"{str(value)[:40]!r} is not a list")
    return value


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _damaged(f"{str(value)[:40]!r} is not an object")
    return value


def _mapping(value: object, parse: Callable[[object], _T]) -> dict[str, _T]:
    return {name: parse(item) for name, item in _object(value).items()}


def _damaged(message: str) -> ValueError:
    return ValueError(message)

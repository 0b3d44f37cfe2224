"""The state of a function in words, and its row in the list of functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eaves.console.model.functions.latency import Latency
from eaves.console.model.words import count_noun, describe_duration, join_words
from eaves.platform import FunctionStatus
from eaves.web.problem_document import describe_reason

OK, ASLEEP, FAILING, STARTING = "ok", "asleep", "failing", "starting"
"""Pictures of states in templates/macros.html."""
_STATES: Mapping[str, tuple[str, str, str]] = {
    "ready": (OK, "ready", "answers at once"),
    "idle": (ASLEEP, "asleep", "starts with the next image"),
    "degraded": (FAILING, "limited", "answers, but another part of its app isn't ready"),
    "starting": (STARTING, "starting", "answers as soon as it has started"),
    "failed": (FAILING, "failed", "can't answer"),
    "stopped": (ASLEEP, "stopped", "nothing runs it: start `eaves up`"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWords:
    """A state for people.

    Attributes:
        tone: `ok`, `asleep`, `failing` or `starting`, which chooses picture and colour.
        word: The state in one word.
        meaning: What it means for the next image.
        reason: Why the function failed, in words; empty otherwise.
        fix: Command or edit that fixes it; empty when none is known.
    """

    tone: str
    word: str
    meaning: str
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRow:
    """One function in the list.

    Attributes:
        name: Name of the function.
        state: Its state.
        replicas: Number of running replicas.
        queued: Number of waiting events, as `eaves status` shows it for the function.
        agents_queued: Number of entries that wait in the queues of its agents; None when one can't be asked.
        dead: Number of dead letters, as `eaves status` shows it for the function.
        agents_dead: Number of dead letters in the queues of its agents; None when one can't be asked.
        answered: Number of events that the function answered since the platform started.
        predictions: Number of newest predictions in words, such as `37 in the last hour`.
        latency: Latencies of the newest predictions; None when the history can't be read.
    """

    name: str
    state: StateWords
    replicas: int
    queued: int
    agents_queued: int | None
    dead: int
    agents_dead: int | None
    answered: int
    predictions: str
    latency: Latency | None

    @property
    def all_queued(self) -> int:
        """Number of all known waiting entries of the app."""
        return self.queued + (self.agents_queued or 0)

    @property
    def all_dead(self) -> int:
        """Number of all known dead letters of the app."""
        return self.dead + (self.agents_dead or 0)


def describe_state(status: FunctionStatus) -> StateWords:
    """Describe the state of a function."""
    tone, word, meaning = _STATES.get(status.state, (STARTING, status.state, ""))
    return StateWords(tone=tone, word=word, meaning=meaning, reason=describe_reason(status.reason), fix=status.fix)


def build_row(status: FunctionStatus, latency: Latency | None, now: float) -> FunctionRow:
    """Build the row of a function.

    Args:
        status: Status of the function.
        latency: Latencies of its newest predictions; None when the history can't be read.
        now: Current time, Unix seconds.
    """
    return FunctionRow(
        name=status.name,
        state=describe_state(status),
        replicas=status.replicas,
        queued=status.queued,
        agents_queued=_add([agent.queued for agent in status.agents]),
        dead=status.dead,
        agents_dead=_add([agent.dead for agent in status.agents]),
        answered=status.delivered,
        predictions=describe_predictions(latency, now),
        latency=latency,
    )


def describe_predictions(latency: Latency | None, now: float) -> str:
    """Return the number of newest predictions in words: of the last hour, or of the shorter time that is known."""
    if latency is None:
        return "unknown"
    if latency.is_hour_known or latency.since is None:
        return f"{latency.last_hour:,} in the last hour"
    return f"{latency.predictions:,} in the last {describe_duration(max(1.0, now - latency.since))}"


def describe_too_few(latency: Latency) -> str:
    """Return why percentiles are missing, such as `only 7 predictions: too few for p95 and p99`; empty otherwise."""
    if not latency.predictions or not latency.too_few:
        return ""
    missing = join_words([f"p{percent}" for percent in latency.too_few])
    return f"only {count_noun(latency.predictions, 'prediction')}: too few for {missing}"


def _add(counts: list[int | None]) -> int | None:
    """Return a sum; None when one of the counts isn't known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None

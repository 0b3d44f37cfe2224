"""Where a rollout stands: the value that is kept in the Service's annotation. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from knative.rollout.metrics.counters import RevisionCounts
from knative.rollout.traffic import Traffic, split_traffic
from knative.settings import RolloutSettings

KEPT_ENTRIES = 8
"""Of the history; an annotation is read by people too."""


class RolloutPhase(StrEnum):
    """What is going on."""

    ADVANCING = "advancing"
    """The new revision gets more, step by step, while it does well."""
    HELD = "held"
    """Shares stay as they are until a person decides, or a newer revision comes."""
    DONE = "done"
    """The new revision gets everything."""
    ROLLED_BACK = "rolled-back"
    """The old one does again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One thing that happened.

    Attributes:
        at: Unix seconds.
        revision: The new one then.
        what: `begun`, `10 %`, `done`, `held`, `rolled back`.
        why: For people.
    """

    at: float
    revision: str
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """A rollout.

    Attributes:
        old: The revision that served before; empty: there was none, or nobody knows.
        new: The revision that is to serve; empty: it has no name yet.
        phase: What is going on.
        traffic: The shares that Eaves set last; empty: none so far.
        since: When the new revision got its present share, Unix seconds.
        reason: Why it is held, done or rolled back, for people.
        served: Whether the new revision has had everything at some time.
        settings: What the rollout was begun with, so that whoever goes on with it needs no eaves.yaml.
        counts: What replicas have answered.
        history: What happened, oldest first.
    """

    old: str
    new: str
    phase: RolloutPhase
    traffic: Traffic = field(default_factory=dict)
    since: float = 0.0
    reason: str = ""
    served: bool = False
    settings: RolloutSettings = field(default_factory=RolloutSettings)
    counts: RevisionCounts = field(default_factory=RevisionCounts)
    history: tuple[HistoryEntry, ...] = ()

    @property
    def percent(self) -> int:
        """The new revision's share."""
        return self.traffic.get(self.new, 0)

    @property
    def serving(self) -> str:
        """The revision to fall back on: the one that has proven itself, as far as any has."""
        return self.new if self.phase is RolloutPhase.DONE else self.old

    def shared(self, percent: int) -> Traffic:
        """Shares with so much for the new revision; before there is any other, it gets all or Knative decides."""
        if self.old:
            return split_traffic(self.new, percent, self.old)
        return {self.new: 100} if percent == 100 else {}

    def become(self, phase: RolloutPhase, traffic: Traffic, now: float, *, what: str, why: str = "") -> RolloutState:
        """The next state, with a line of history.

        What replicas counted is kept only while somebody may compare it.
        """
        return replace(
            self,
            phase=phase,
            traffic=dict(traffic),
            since=now,
            reason=why,
            served=self.served or phase is RolloutPhase.DONE,
            counts=self.counts if phase in (RolloutPhase.ADVANCING, RolloutPhase.HELD) else RevisionCounts(),
            history=(*self.history, HistoryEntry(at=now, revision=self.new, what=what, why=why))[-KEPT_ENTRIES:],
        )

"""The state of a rollout: the value that is stored in the Service's annotation. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from knative.rollout.metrics.counters import RevisionCounts
from knative.rollout.traffic import Traffic, split_traffic
from knative.settings import RolloutSettings

KEPT_ENTRIES = 8
"""Maximum number of entries in a rollout's history. It is small, since people read the annotation too."""


class RolloutPhase(StrEnum):
    """The phase of a rollout."""

    ADVANCING = "advancing"
    """The new revision gets a larger share, step by step, while it does well."""
    HELD = "held"
    """The traffic stays as it is until a user decides, or a newer revision comes: the old revision has all requests,
    unless a user has given the new one a share."""
    DONE = "done"
    """The new revision gets all requests."""
    ROLLED_BACK = "rolled-back"
    """The old revision gets all requests again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One entry of a rollout's history.

    Attributes:
        at: Unix time in seconds.
        revision: The new revision at that time.
        what: `begun`, `10 %`, `done`, `held`, `rolled back`.
        why: Reason for people.
    """

    at: float
    revision: str
    what: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """The state of a rollout.

    Attributes:
        old: The revision that served before; empty when there was none, or it is unknown.
        new: The revision that is rolled out; empty while it has no name yet.
        phase: Phase of the rollout.
        traffic: Traffic that Eaves set last; empty when it has set none.
        since: Unix time in seconds when the new revision got its present share.
        reason: Reason for people why the rollout is held, done or rolled back.
        served: Whether the new revision has had all requests at some time.
        settings: Settings that the rollout was begun with, so that continuing it needs no eaves.yaml.
        counts: Requests that replicas have counted.
        history: History of the rollout, oldest first.
        to_retry: Revisions that lost all requests, and whose refused images are still to be retried by the revision
            that serves (`knative.status.refused_images`).
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
    to_retry: tuple[str, ...] = ()

    @property
    def percent(self) -> int:
        """Share of the new revision in percent."""
        return self.traffic.get(self.new, 0)

    @property
    def serving(self) -> str:
        """The revision that a later rollback returns to: the new one once it has all requests, else the old one."""
        return self.new if self.phase is RolloutPhase.DONE else self.old

    def shared(self, percent: int) -> Traffic:
        """Return the traffic in which the new revision has a share and the old one has the rest.

        Without an old revision, the new one gets 100 %, or the traffic is empty and Knative decides.
        """
        if self.old:
            return split_traffic(self.new, percent, self.old)
        return {self.new: 100} if percent == 100 else {}

    def become(self, phase: RolloutPhase, traffic: Traffic, now: float, *, what: str, why: str = "") -> RolloutState:
        """Return the state in another phase, with a new entry of the history.

        The counters of requests are dropped in phases in which they are not compared any more.
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

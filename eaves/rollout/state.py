"""The state of a rollout, as JSON, and as people see it. Pure.

A cluster stores the JSON in an annotation of the Service, the local platform in a file. Text that can't be parsed
counts as no rollout, and never as a wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

from eaves.admin.report import from_json
from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError
from eaves.rollout.counters import RevisionCounts
from eaves.rollout.settings import RolloutSettings

MAX_TEXT = 300
"""Maximum characters of a text that are stored, since a reason may quote a long message."""
MAX_NUMBER = 1e15
"""Limit of a number in the JSON text. JSON may contain larger numbers, NaN and Infinity, which are refused."""

LATEST = ""
"""Key of a traffic's share that belongs to the latest ready revision, whatever its name."""
Traffic = Mapping[str, int]
"""Percent of requests by revision; it holds only shares above 0."""


class RolloutPhase(StrEnum):
    """The phase of a rollout."""

    ADVANCING = "advancing"
    """The new revision gets a larger share, step by step, while it does well."""
    HELD = "held"
    """The traffic stays as it is until a user decides, a newer revision comes, or what kept the revision from being
    ready and pinned is over: the old revision has all requests, unless a user has given the new one a share."""
    DONE = "done"
    """The new revision gets all requests."""
    ROLLED_BACK = "rolled-back"
    """The old revision gets all requests again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCounts:
    """Answers of both revisions to labelled photos of the audit sample; photos of one group count as one.

    Attributes:
        images: Number of photos that both have answered.
        lost: Number of those that only the old revision answers rightly.
        gained: Number of those that only the new revision answers rightly.
    """

    images: int = 0
    lost: int = 0
    gained: int = 0

    @property
    def text(self) -> str:
        """The counts for people; empty without images."""
        if not self.images:
            return ""
        return (
            f"on {self.images:,} audit images the new model is wrong on {self.lost:,} that the old one answered "
            f"rightly, and right on {self.gained:,} that it answered wrongly"
        )


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
        resumes: Whether the rollout, which is held, continues by itself when the new revision is ready and pinned.
        settings: Settings that the rollout was begun with, so that continuing it needs no eaves.yaml.
        counts: Requests that replicas have counted.
        observed: Whether the requests that pods had counted when the rollout began were read.
        audit: Answers of both revisions to labelled photos.
    """

    old: str = ""
    new: str = ""
    phase: RolloutPhase
    traffic: Traffic = field(default_factory=dict)
    since: float = 0.0
    reason: str = ""
    served: bool = False
    resumes: bool = False
    settings: RolloutSettings = field(default_factory=RolloutSettings)
    counts: RevisionCounts = field(default_factory=RevisionCounts)
    observed: bool = False
    audit: AuditCounts = field(default_factory=AuditCounts)

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

    def become(
        self, phase: RolloutPhase, traffic: Traffic, now: float, why: str = "", *, resumes: bool = False
    ) -> RolloutState:
        """Return the state in another phase, with the reason for people.

        The counters of requests are dropped in phases in which they are not compared any more.
        """
        return replace(
            self,
            phase=phase,
            traffic=dict(traffic),
            since=now,
            reason=why,
            served=self.served or phase is RolloutPhase.DONE,
            resumes=resumes,
            counts=self.counts if phase in (RolloutPhase.ADVANCING, RolloutPhase.HELD) else RevisionCounts(),
        )


def split_traffic(new: str, percent: int, old: str) -> dict[str, int]:
    """Return traffic in which `new` gets a share of the requests and `old` the rest; a share of 0 % is left out."""
    return {revision: share for revision, share in ((old, 100 - percent), (new, percent)) if share}


def find_largest_share(traffic: Traffic, *, apart_from: str = "") -> str:
    """Return the revision with the largest share, except the one that `apart_from` names; empty when there is none."""
    others = {revision: percent for revision, percent in traffic.items() if revision and revision != apart_from}
    return max(others, key=lambda revision: others[revision], default="")


def render_traffic(traffic: Traffic) -> str:
    """Render traffic as a text for people."""
    return ", ".join(f"{revision or 'the latest'} {percent} %" for revision, percent in traffic.items()) or "nobody"


def render_state(state: RolloutState) -> str:
    """Render a state as JSON. Equal states give equal text, and default values are left out."""
    return json.dumps(_dump(state), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_state(text: str) -> RolloutState:
    """Parse a state's JSON; members that this version doesn't know are left out.

    Raises:
        ValueError: When the text isn't a state.
    """
    known = {one.name for one in fields(RolloutSettings)}
    try:
        values = json.loads(text, parse_int=_parse_number, parse_float=_parse_number)
        given = {name: one for name, one in dict(values.get("settings", {})).items() if name in known}
        settings = build(RolloutSettings, SettingsLayer(origin="the state", values=given))
        read = values | {"settings": settings, "phase": RolloutPhase(values["phase"])}
        state = from_json(RolloutState, read)
    except (TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"it is not a state: {error}"[:80]) from error
    except ConfigError as error:
        raise ValueError(str(error.faults[0])) from error
    if state.traffic and (sum(state.traffic.values()) != 100 or min(state.traffic.values()) < 1):
        raise ValueError("its shares do not add up to 100 %")
    if state.old and state.old == state.new:
        raise ValueError("its old and new revision are the same")
    if state.audit.lost + state.audit.gained > state.audit.images:
        raise ValueError(f"{state.audit.images} images can't be answered so differently")
    for times in state.counts.windows.times.values():
        if not 1 <= times.windows <= times.timed:
            raise ValueError(f"{times.timed} predictions in {times.windows} windows are not possible")
    return state


def _parse_number(text: str) -> float:
    number = float(text)
    if not 0 <= number < MAX_NUMBER:
        raise ValueError(f"{text[:40]} is not a number in the allowed range")
    return number if "." in text else int(number)


def _dump(value: Any) -> Any:
    """Return a part of a state as a value of JSON."""
    if is_dataclass(value):
        members = {one: getattr(value, one.name) for one in fields(value)}
        return {one.name: _dump(member) for one, member in members.items() if member != _default(one)}
    if isinstance(value, Mapping):
        return {name: _dump(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [_dump(one) for one in value]
    return value[:MAX_TEXT] if isinstance(value, str) else value


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionReport:
    """One revision of a rollout for people: its share, and its requests since the rollout began.

    Attributes:
        revision: Name of the revision.
        percent: Its share of the requests in percent.
        requests: Number of requests that it answered or failed; None when none are counted.
        errors: Number of those that failed.
        refused: Number of requests that it refused.
        mean_ms: Mean time of its predictions in milliseconds; None when none was measured.
    """

    revision: str
    percent: int
    requests: int | None = None
    errors: int | None = None
    refused: int | None = None
    mean_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """A rollout for people.

    Attributes:
        phase: Its phase; empty when no rollout was started.
        reason: Why it is in this phase, or what it waits for.
        revisions: The newest revision, and then the other ones.
    """

    phase: str
    reason: str
    revisions: tuple[RevisionReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStatus:
    """A function's revisions, traffic and rollout.

    Attributes:
        name: Name of the function.
        newest: The revision that was made last; empty when there is none yet.
        traffic: Traffic as the platform has it.
        shares: The traffic with the name of the latest ready revision in place of `LATEST`.
        state: State of the rollout; None when there is none.
        fault: Reason why the rollout's state can't be parsed; empty when it can be parsed, or there is none.
        settled: Whether the platform has processed the last change, so that `newest` is certain.
    """

    name: str
    newest: str
    traffic: Traffic
    shares: Traffic
    state: RolloutState | None = None
    fault: str = ""
    settled: bool = True

    @property
    def fixed(self) -> bool:
        """Whether the traffic names its revisions, so that a new revision gets no requests automatically."""
        return bool(self.traffic) and LATEST not in self.traffic

    @property
    def current(self) -> RolloutState | None:
        """The stored state of the rollout if it is about the newest revision, else None."""
        return self.state if self.state is not None and self.state.new == self.newest else None

    @property
    def other(self) -> str:
        """The revision that the newest one is compared with; empty when none is known.

        It is the last revision that got all requests, if it still gets some. A revision whose rollout was not finished
        when a newer one was deployed is not used for comparison. Otherwise it is the revision with the largest share of
        the requests, or else the old revision in the stored state.
        """
        state = self.current
        proven = state.old if state is not None else self.state.serving if self.state is not None else ""
        if proven in self.shares and proven != self.newest:
            return proven
        return find_largest_share(self.shares, apart_from=self.newest) or (state.old if state is not None else "")

    def report(self) -> RolloutReport:
        """Return the newest revision, with the rollout's state, and the other revisions of the rollout."""
        state = self.current
        others = [name for name in (*self.shares, state.old if state is not None else "") if name]
        names = dict.fromkeys((self.newest or self.name, *others))
        return RolloutReport(
            phase=state.phase.value if state is not None else "",
            reason=self.fault or _describe_state(state),
            revisions=tuple(self._describe_revision(name, state) for name in names),
        )

    def _describe_revision(self, name: str, state: RolloutState | None) -> RevisionReport:
        report = RevisionReport(revision=name, percent=self.shares.get(name, 0))
        if state is None:
            return report
        counted = state.counts.total(name)
        return replace(
            report,
            requests=counted.judged,
            errors=counted.failed,
            refused=counted.refused,
            mean_ms=round(counted.mean_ms, 1) if counted.timed else None,
        )


def _describe_state(state: RolloutState | None) -> str:
    if state is None:
        return "no rollout has been started"
    if state.phase is not RolloutPhase.ADVANCING:
        return state.reason
    seen, wanted = state.counts.step(state.new).judged, state.settings.min_requests
    if not state.percent:
        return "the revision gets its first share of requests once it is ready"
    counted = f"{seen} of {wanted} requests counted; this step is judged at {wanted}"
    if seen >= wanted:
        counted = f"{seen:,} requests counted, which do not decide this step yet"
    return "; ".join(filter(None, (counted, state.audit.text)))

"""Interface of a platform for the console: what the pages show, and what a person may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eaves.admin import Queue
from eaves.delivery import SinkResponse
from eaves.events import Event
from eaves.history import Record
from eaves.platform import FunctionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStart:
    """One start of a function's replica.

    Attributes:
        function: Name of the function.
        at: Time at which the replica was wanted, Unix seconds.
        total_ms: Time until the replica was ready, milliseconds.
        phases_ms: Duration of each phase in the order of time, milliseconds, such as `imports` or `session`; empty when
            the replica reported none.
        method: How the process was started, `fork` or `command`; on a cluster `pod`.
    """

    function: str
    at: float
    total_ms: float
    phases_ms: Mapping[str, float]
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """A run or an artifact that the console can show.

    Attributes:
        name: Name in addresses of pages; unique within its kind.
        kind: `artifact` or `run`.
        path: Directory.
        functions: Functions that serve the artifact now.
        is_previous: Whether the artifact is that of a function's previous deployment.
    """

    name: str
    kind: str
    path: Path
    functions: tuple[str, ...] = ()
    is_previous: bool = False


class Images(Protocol):
    """Pictures of events, by the identity of the event that captured the image."""

    def image(self, source: str, event_id: str) -> bytes | None:
        """Return the encoded image of a recent event; None when it isn't kept any more."""

    def thumbnail(self, source: str, event_id: str) -> bytes | None:
        """Return the JPEG thumbnail of an event's image; None when there is none."""


class Records(Protocol):
    """The history of events, for pages. Every method raises PlatformError when it can't be read."""

    def newest(self) -> int:
        """Return `Record.seq` of the newest record; 0 when there is none."""

    def next(self, *, after: int, limit: int) -> Sequence[Record]:
        """Return the first `limit` records after the record `after`, oldest first."""

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> Sequence[Record]:
        """Return the newest `limit` matching records older than the record `before`, newest first."""

    def get(self, seq: int) -> Record | None:
        """Return one record; None when it was deleted or never existed."""

    def chain(self, record: Record) -> Sequence[Record]:
        """Return the records of the same image, from its capture to its forwarding, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Conditions that a record must meet; empty ones are met by every record.

    Attributes:
        types: Event types.
        source: Name of the source, the last part of the image event's `source`, or a function's `source` attribute.
        label: Label of a prediction.
        confidence: `high` or `low`.
        since: Earliest time of arrival, Unix seconds.
        until: Latest time of arrival, Unix seconds.
        text: Text within the subject.
    """

    types: tuple[str, ...] = ()
    source: str = ""
    label: str = ""
    confidence: str = ""
    since: float | None = None
    until: float | None = None
    text: str = ""


class Backend(Protocol):
    """A platform as the console sees it. Methods raise EavesError when the platform can't be reached."""

    @property
    def title(self) -> str:
        """Name of the platform for people, such as the machine's or the site's name."""

    @property
    def records(self) -> Records:
        """The history of events."""

    @property
    def images(self) -> Images:
        """Images of recent events, and thumbnails."""

    def status(self) -> Sequence[FunctionStatus]:
        """Return the status of every function, with its sources, agents and links."""

    def queues(self) -> Mapping[str, Queue]:
        """Return the queues by name for people: the platform's own, and that of each agent and relay."""

    def starts(self) -> Sequence[ReplicaStart]:
        """Return the newest starts of replicas, oldest first."""

    def models(self) -> Sequence[ModelLocation]:
        """Return the runs and artifacts that can be shown."""

    def invoke(self, function: str, event: Event) -> SinkResponse:
        """Send an event straight to a function and return its response."""

    def promote(self, function: str) -> None:
        """Send every request to the newest revision."""

    def rollback(self, function: str) -> None:
        """Serve the previous deployment again."""

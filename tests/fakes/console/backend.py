"""A backend of the console that returns what a test has put into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from eaves.admin import Queue
from eaves.console.backend import ModelLocation, RecordFilter, ReplicaStart
from eaves.delivery import SinkResponse
from eaves.events import Event
from eaves.history import Record
from eaves.platform import FunctionStatus


@dataclass
class FakeRecords:
    """Records in a list, oldest first."""

    kept: list[Record] = field(default_factory=list)

    def newest(self) -> int:
        return self.kept[-1].seq if self.kept else 0

    def next(self, *, after: int, limit: int) -> Sequence[Record]:
        return [one for one in self.kept if one.seq > after][:limit]

    def find(self, wanted: RecordFilter, *, before: int | None = None, limit: int = 50) -> Sequence[Record]:
        matching = [
            one
            for one in reversed(self.kept)
            if (before is None or one.seq < before)
            and (not wanted.types or one.type in wanted.types)
            and (not wanted.label or one.extensions.get("label") == wanted.label)
            and (not wanted.confidence or one.extensions.get("confidence") == wanted.confidence)
            and (
                not wanted.source
                or wanted.source
                in (one.source.rsplit("/", 1)[-1], one.extensions.get("causesource", "").rsplit("/", 1)[-1])
            )
            and (wanted.since is None or one.at >= wanted.since)
            and (wanted.until is None or one.at <= wanted.until)
            and wanted.text in one.subject
        ]
        return matching[:limit]

    def get(self, seq: int) -> Record | None:
        return next((one for one in self.kept if one.seq == seq), None)

    def chain(self, record: Record) -> Sequence[Record]:
        cause = record.extensions.get("causeid", record.id)
        return [one for one in self.kept if cause in (one.id, one.extensions.get("causeid"))]


@dataclass
class FakeImages:
    """Images and thumbnails by the identity of the captured event."""

    images: dict[tuple[str, str], bytes] = field(default_factory=dict)
    thumbnails: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def image(self, source: str, event_id: str) -> bytes | None:
        return self.images.get((source, event_id))

    def thumbnail(self, source: str, event_id: str) -> bytes | None:
        return self.thumbnails.get((source, event_id))


@dataclass
class FakeBackend:
    """A platform whose state a test sets; it remembers the changes that a page asked for.

    Attributes:
        changes: What was asked for, such as `("promote", "flowers")`.
        answer: Function that answers `invoke`.
    """

    title: str = "test-machine"
    records: FakeRecords = field(default_factory=FakeRecords)
    images: FakeImages = field(default_factory=FakeImages)
    functions: list[FunctionStatus] = field(default_factory=list)
    named_queues: dict[str, Queue] = field(default_factory=dict)
    known_starts: list[ReplicaStart] = field(default_factory=list)
    known_models: list[ModelLocation] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)
    answer: Callable[[str, Event], SinkResponse] | None = None

    def status(self) -> Sequence[FunctionStatus]:
        return self.functions

    def queues(self) -> Mapping[str, Queue]:
        return self.named_queues

    def starts(self) -> Sequence[ReplicaStart]:
        return self.known_starts

    def models(self) -> Sequence[ModelLocation]:
        return self.known_models

    def invoke(self, function: str, event: Event) -> SinkResponse:
        assert self.answer is not None, "the test sets `answer` first"
        self.changes.append(("invoke", function))
        return self.answer(function, event)

    def promote(self, function: str) -> None:
        self.changes.append(("promote", function))

    def rollback(self, function: str) -> None:
        self.changes.append(("rollback", function))

"""A backend of the console that returns what a test has put into it."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from eaves.admin import Queue
from eaves.console.backend import Jobs, JobStatus
from eaves.console.thumbnails import digest_of
from eaves.delivery import SinkResponse
from eaves.errors import ConflictError, NotFoundError
from eaves.events import Event
from eaves.history import Record, RecordFilter, SourceRecords
from eaves.labels import LabelBook
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
        older = (one for one in reversed(self.kept) if before is None or one.seq < before)
        return [one for one in older if _matches(wanted, one)][:limit]

    def get(self, seq: int) -> Record | None:
        return next((one for one in self.kept if one.seq == seq), None)

    def chain(self, record: Record) -> Sequence[Record]:
        return [one for one in self.kept if record.image in (one.identity, one.cause)]

    def causes(self, records: Iterable[Record]) -> Mapping[int, Record]:
        known = {one.identity: one for one in reversed(self.kept)}
        return {one.seq: known[one.cause] for one in records if one.cause in known}

    def labels(self) -> Sequence[str]:
        return sorted({one.extensions["label"] for one in self.kept if one.cause and "label" in one.extensions})

    def sources(self) -> Sequence[str]:
        return sorted({one.source for one in self.kept if one.cause is None})

    def by_source(self) -> Sequence[SourceRecords]:
        captured = {one.source: one for one in self.kept if one.cause is None}
        predicted = {one.cause[0]: one for one in self.kept if one.cause is not None}
        found = [
            SourceRecords(source=source, captured=captured.get(source), predicted=predicted.get(source))
            for source in captured.keys() | predicted.keys()
        ]
        return sorted(found, key=lambda one: -(one.newest.seq if one.newest else 0))


def _matches(wanted: RecordFilter, record: Record) -> bool:
    sources = (record.source, record.extensions.get("causesource", ""))
    return (
        (not wanted.types or record.type in wanted.types)
        and wanted.label in ("", record.extensions.get("label"))
        and wanted.confidence in ("", record.extensions.get("confidence"))
        and (wanted.since or record.at) <= record.at <= (wanted.until or record.at)
        and (not wanted.source or any(f"/{one}".endswith(f"/{wanted.source}") for one in sources))
        and wanted.text.lower() in record.subject.lower()
    )


@dataclass
class FakeImages:
    """Images and thumbnails by the identity of the captured event."""

    images: dict[tuple[str, str], bytes] = field(default_factory=dict)
    thumbnails: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def image(self, source: str, event_id: str) -> bytes | None:
        return self.images.get((source, event_id))

    def thumbnail(self, captured: Record) -> bytes | None:
        return self.thumbnails.get(captured.identity)

    def kept_thumbnail(self, digest: str) -> bytes | None:
        return next((jpeg for identity, jpeg in [*self.thumbnails.items()] if digest_of(*identity) == digest), None)

    def find_shown(self, records: Collection[Record]) -> Set[int]:
        return {record.seq for record in records if record.image in self.thumbnails}


@dataclass
class FakeJobs:
    """Jobs that run until a test sets what they have done.

    Attributes:
        review: File with the review.
        started: Kind and options of each job.
        known: Status by kind; a kind without one is idle.
    """

    review: Path
    places: Sequence[str] = ("here",)
    good: str = ""
    started: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    known: dict[str, JobStatus] = field(default_factory=dict)

    def start(self, kind: str, **options: str) -> None:
        if self.status(kind).state == "running":
            raise ConflictError(f"a job {kind} runs already")
        self.started.append((kind, options))
        self.known[kind] = JobStatus(state="running", started=time.time())

    def status(self, kind: str) -> JobStatus:
        return self.known.get(kind, JobStatus())


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
    known_runs: dict[str, Path] = field(default_factory=dict)
    log_lines: dict[str, list[str]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    answer: Callable[[str, Event], SinkResponse] | None = None
    labels: LabelBook | None = None
    jobs: Jobs | None = None

    def status(self) -> Sequence[FunctionStatus]:
        return self.functions

    def queue_names(self) -> Sequence[str]:
        return list(self.named_queues)

    def open_queue(self, name: str) -> AbstractContextManager[Queue]:
        if name not in self.named_queues:
            raise NotFoundError(f"there is no queue {name!r}", hint="eaves status")
        return nullcontext(self.named_queues[name])

    def runs(self) -> Mapping[str, Path]:
        return self.known_runs

    def logs(self, function: str) -> Sequence[str]:
        if function not in self.log_lines:
            raise NotFoundError(f"{function!r} has no log", hint="eaves status")
        return self.log_lines[function]

    def invoke(self, function: str, event: Event) -> SinkResponse:
        assert self.answer is not None, "the test sets `answer` first"
        self.changes.append(("invoke", function))
        return self.answer(function, event)

    def promote(self, function: str) -> None:
        self.changes.append(("promote", function))

    def rollback(self, function: str) -> None:
        self.changes.append(("rollback", function))

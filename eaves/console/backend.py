"""What every page gets: a platform through one Protocol, settings, and a clock; and answers that pages share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from eaves.admin import Queue
from eaves.base.clock import SYSTEM, Clock
from eaves.console.exposure import ConsoleSettings
from eaves.delivery import SinkResponse
from eaves.events import Event
from eaves.history import Record, Records
from eaves.labels import LabelBook
from eaves.platform import FunctionStatus


class Images(Protocol):
    """Pictures of events. `eaves.console.thumbnails.Gallery` implements it for platforms that hold images."""

    def image(self, source: str, event_id: str) -> bytes | None:
        """Return the encoded image of a recent event; None when it isn't held any more."""

    def thumbnail(self, captured: Record) -> bytes | None:
        """Return the JPEG thumbnail of a captured image; None when there is none."""

    def kept_thumbnail(self, digest: str) -> bytes | None:
        """Return a kept thumbnail by the `digest_of` its image; None when it isn't kept."""

    def find_shown(self, records: Collection[Record]) -> Set[int]:
        """Return `Record.seq` of those records, captures or predictions, whose image has a thumbnail to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """State of the newest job of a kind.

    Attributes:
        state: `idle` when there was none, `running`, `done` or `failed`.
        started: Time when it was started, Unix seconds; None when there was none.
        ended: Time when it ended, Unix seconds; None while it runs, or when it was killed.
        lines: The last lines of its log, oldest first.
        result: What it makes: the name of a run, `run`, and the path of an artifact, `artifact`; known before it is
            made.
        fault: Why it failed; empty otherwise.
    """

    state: str = "idle"
    started: float | None = None
    ended: float | None = None
    lines: Sequence[str] = ()
    result: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


class Jobs(Protocol):
    """Work that pages start; it continues when nobody looks. `eaves.local.jobs.ProjectJobs` implements it."""

    @property
    def review(self) -> Path:
        """File that a job of the kind `review` writes."""

    @property
    def places(self) -> Sequence[str]:
        """Places where a model can be trained: `here`, and perhaps `cluster`."""

    @property
    def good(self) -> str:
        """Class of the good photos that alone are trained on, by the project's settings; empty with another task."""

    def start(self, kind: str, **options: str) -> None:
        """Start a job: `review`; `collect` (source, wanted); `train` (where, and good or not); `deploy` (artifact).

        Raises ConflictError while a job of this kind runs.
        """

    def status(self, kind: str) -> JobStatus:
        """Return the state of the newest job of a kind."""


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

    @property
    def labels(self) -> LabelBook | None:
        """The labels of the project's photos; None where there is no folder of photos."""

    @property
    def jobs(self) -> Jobs | None:
        """Work that pages start; None on a platform without a project's folder."""

    def status(self) -> Sequence[FunctionStatus]:
        """Return the status of every function, with its sources, agents and links."""

    def queue_names(self) -> Sequence[str]:
        """Return the names of the queues for people: the platform's own, and that of each agent and relay.

        A name is part of an address, so it has no slash. The name of an agent's queue begins with that of its app.
        """

    def open_queue(self, name: str) -> AbstractContextManager[Queue]:
        """Open a queue by its name; NotFoundError when there is none. A queue that doesn't answer fails in seconds."""

    def runs(self) -> Mapping[str, Path]:
        """Return the directories of trainings by their names, the newest first."""

    def logs(self, function: str) -> Sequence[str]:
        """Return the last lines of a function's log, oldest first. Raises NotFoundError when there is none."""

    def invoke(self, function: str, event: Event) -> SinkResponse:
        """Send an event straight to a function and return its response."""

    def promote(self, function: str) -> None:
        """Send every request to the newest revision."""

    def rollback(self, function: str) -> None:
        """Serve the previous deployment again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleContext:
    """What every page gets.

    Attributes:
        backend: The platform that the pages show.
        settings: Settings of the console.
        clock: Clock for ages.
    """

    backend: Backend
    settings: ConsoleSettings = field(default_factory=ConsoleSettings)
    clock: Clock = SYSTEM


T = TypeVar("T")


class CachedAnswer(Generic[T]):
    """An answer that is used again for some time; of several threads that need a new one, one asks for it.

    Args:
        ask: Asks the platform.
        max_age_s: Time for which its answer is used again, seconds.
        clock: Clock for that time.
    """

    def __init__(self, ask: Callable[[], T], max_age_s: float, clock: Clock = SYSTEM) -> None:
        self._ask = ask
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._cached: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the answer; the errors are those of `ask`, and aren't kept."""
        with self._lock:
            if self._cached is None or self._clock.monotonic() - self._cached[0] >= self._max_age_s:
                answer = self._ask()  # those who wait for it take it, however long it took
                self._cached = self._clock.monotonic(), answer
            return self._cached[1]

    def forget(self) -> None:
        """Ask again next time."""
        with self._lock:
            self._cached = None

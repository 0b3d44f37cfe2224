"""An edge in one process: source, spool, deliveries, history and activator, under a clock that the test turns.

Images are written into a folder and predicted by a function that refuses some of them, and their predictions go to a
broker that is down a third of the time. A file is deleted once its prediction has arrived. Beside that a second source
waits for a folder that comes and goes, and a function can't start.
"""

import contextlib
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from eaves.base.backoff import UNLIMITED
from eaves.delivery import SinkResponse
from eaves.errors import UnreachableError
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.history import FileHistory
from eaves.local.processes.activator import Activator
from eaves.local.processes.process import ProcessHost
from eaves.local.state import LocalFunction, StateDirectory
from eaves.platform import ScaleSettings
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.folder.source import KIND, FolderSourceSettings
from eaves.spool import Entry, Puts, Spool, SpoolLimits
from tests.fakes.clock import ManualClock
from tests.fakes.processes import FakeLauncher
from tests.unit.delivery.harness import delivering
from tests.waiting import wait_until

THREADS = 5
"""Threads that wait for time when nothing is to be done: two sources, two deliveries, the keeper of a function."""
PNG = b"\x89PNG\r\n\x1a\n"
IMAGES, REPLIES = "images", "replies"
STUCK_S = 60.0
"""Real seconds without any progress after which a run has failed."""
LAST = 60
"""Images that are sent once everything works again."""
REFUSED_EVERY, WALLED_EVERY = 499, 4999
"""One of so many images is no image (422), and one of so many is refused by a firewall (403)."""


@dataclass(slots=True)
class Arrived:
    """Which images came to which end, a bit each: a million take 125 KB."""

    count: int
    predicted: bytearray = field(init=False)
    refused: bytearray = field(init=False)
    twice: int = 0

    def __post_init__(self) -> None:
        self.predicted, self.refused = bytearray(self.count // 8 + 1), bytearray(self.count // 8 + 1)

    def mark(self, ends: bytearray, number: int) -> None:
        if ends is self.predicted and ends[number // 8] >> number % 8 & 1:
            self.twice += 1
        ends[number // 8] |= 1 << number % 8

    def missing(self, numbers: int) -> list[int]:
        """The first images that came to no end."""
        found = (
            number
            for number in range(numbers)
            if not (self.predicted[number // 8] | self.refused[number // 8]) >> number % 8 & 1
        )
        return [number for number, _ in zip(found, range(10), strict=False)]


class World:
    """Everything, wired; `run` lets time pass.

    Args:
        root: For the folders; the spool and the history are below it too.
        images: How many will be sent.
        days: In how much time.
        steps: Into how many steps that time is cut.
        limits: Limits of the spool.
        history_bytes: Limit of the history in bytes.
        seed: Seed of the outages.
    """

    def __init__(
        self,
        root: Path,
        *,
        images: int,
        days: float,
        steps: int,
        limits: SpoolLimits,
        history_bytes: int,
        seed: int = 0,
    ) -> None:
        self.clock = ManualClock()
        self.images, self.span_s, self.steps = images, days * 86_400, steps
        self.inbox, self.away = root / "inbox", root / "away"
        self.inbox.mkdir()
        self.arrived = Arrived(images)
        self.sent = self.emptied = 0
        self.launcher = FakeLauncher(exit_code=1)
        self._random = random.Random(seed)
        self._outages = list(self._plan())
        self._lock = threading.Lock()
        self.spool = Spool(root / "spool.db", limits=limits, clock=self.clock)
        self.history = FileHistory(root / "history.db", max_bytes=history_bytes, clock=self.clock)
        self.files = [root / name for name in ("spool.db", "spool.db-wal", "history.db")]
        self.source = self._source("camera", self.inbox)
        self.coming_and_going = self._source("ghost", root / "ghost")
        self.ghost = root / "ghost"
        state = StateDirectory(root=root / "state")
        state.prepare()
        spec = LocalFunction(
            name="never",
            site="soak",
            artifact=root / "none",
            artifact_digest="0" * 64,
            scale=ScaleSettings(min=1, max=1),
        )
        self.activator = Activator(spec, ProcessHost(state=state, inherit={}, clock=self.clock, launch=self.launcher))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start everything; stop it at the end."""
        lanes: dict[str, Any] = {"backoff": UNLIMITED, "jitter": random.random, "observe": lambda _: None}
        with contextlib.ExitStack() as stack:
            for close in (self.spool.close, self.history.close, self.activator.stop):
                stack.callback(close)
            stack.enter_context(
                delivering(self.spool, self._predict, lane=IMAGES, on_reply=self._keep, reply_required=True, **lanes)
            )
            stack.enter_context(delivering(self.spool, self._take, lane=REPLIES, **lanes))
            stack.callback(stop_sources, [self.source, self.coming_and_going])
            for source in (self.source, self.coming_and_going):
                source.start()
            yield

    def run(self, sample: Callable[[int], None], samples: int = 20) -> None:
        """Send every image over the whole time, and wait until each has come to an end.

        Args:
            sample: Called with the number of images sent.
            samples: How often.
        """
        for step in range(1, self.steps + 1):
            self._change_folders(step)
            if self.inbox.is_dir():
                self._write((self.images - LAST) * step // self.steps)
            self._turn(self.span_s / self.steps)
            self._settle(drain=False)
            if step % max(1, self.steps // samples) == 0:
                sample(self.sent)
        self._outages.clear()
        if self.away.is_dir():
            self.away.rename(self.inbox)
        for left in range(LAST - 5, -1, -5):  # an image is held to be at fault when others get through ten times
            self._write(self.images - left)
            self._settle(drain=left == 0)
        sample(self.sent)

    def broker_is_down(self) -> bool:
        """Whether the broker is down now."""
        now = self.clock.monotonic()
        while self._outages and self._outages[0][1] <= now:
            self._outages.pop(0)
        return bool(self._outages) and self._outages[0][0] <= now

    def _plan(self) -> Iterator[tuple[float, float]]:
        """Outages of minutes to a night, together a third of the time."""
        at = 0.0
        while at < self.span_s:
            length = min(self._random.choice([600.0, 3600.0, 8 * 3600.0]), self.span_s / 10)
            at += 2 * length
            yield at, at + length
            at += length

    def _source(self, name: str, folder: Path) -> SupervisedSource:
        settings = FolderSourceSettings(path=folder, polling=True, poll_s=60.0, settle_s=2.0)
        context = AgentContext(
            name,
            site="soak",
            index=self.spool,
            store=lambda event: self.spool.put(event, lanes=(IMAGES,), once=True),
            max_bytes=20_000_000,
            spool_max_bytes=self.spool.limits.max_bytes,
            clock=self.clock,
        )
        return SupervisedSource(partial(KIND.run, settings), context, clock=self.clock)

    def _predict(self, event: Event) -> SinkResponse:
        number = _number(event)
        if number % REFUSED_EVERY == 7:
            self.arrived.mark(self.arrived.refused, number)
            self._path(event).unlink(missing_ok=True)
            return SinkResponse(status=422, body=b'{"type": "urn:eaves:problem:image"}')
        if number % WALLED_EVERY == 11:
            self.arrived.mark(self.arrived.refused, number)
            self._path(event).unlink(missing_ok=True)
            return SinkResponse(status=403, body=b"blocked")
        reply = Event(
            id=f"reply-{event.id}",
            source="/eaves/soak/function",
            type=IMAGE_CLASSIFIED,
            subject=event.subject,
            datacontenttype="application/json",
            data=b'{"predictions": [{"label": "daisy", "score": 0.9}]}',
        )
        return SinkResponse(status=200, event=reply)

    def _keep(self, _: Entry, reply: Event) -> Puts:
        return [(reply, (REPLIES,))]

    def _take(self, event: Event) -> SinkResponse:
        if self.broker_is_down():
            outage = int(self._outages[0][0])
            if outage % 4 == 0:
                raise UnreachableError("no connection")
            return SinkResponse(status=(403, 502, 503)[outage % 3])
        self.history.add(event)
        self.arrived.mark(self.arrived.predicted, _number(event))
        self._path(event).unlink(missing_ok=True)
        self.emptied += 1
        return SinkResponse(status=202)

    def _path(self, event: Event) -> Path:
        return self.inbox / str(event.subject)

    def _write(self, up_to: int) -> None:
        for number in range(self.sent, up_to):
            name = f"{number:07}.png"
            (self.inbox / name).write_bytes(PNG + name.encode() + bytes(100))
        self.sent = max(self.sent, up_to)

    def _change_folders(self, step: int) -> None:
        """Both folders come and go, one for a short time and one for a long time."""
        if step % 50 == 20 and self.inbox.is_dir() and not self.spool.depth():
            self.inbox.rename(self.away)
        if step % 50 == 22 and self.away.is_dir():
            self.away.rename(self.inbox)
        if step % 60 == 40:
            self.ghost.mkdir(exist_ok=True)
        if step % 60 == 50:
            shutil.rmtree(self.ghost, ignore_errors=True)

    def _turn(self, seconds: float) -> None:
        """Let time pass once everybody waits for it: nothing takes longer than it does."""
        wait_until(lambda: self.clock.waiting >= THREADS, STUCK_S, pause_s=0.0005, what="every part to be at rest")
        self.clock.turn(seconds)

    def _settle(self, *, drain: bool) -> None:
        """Let small pieces of time pass until everything that can be done is done."""
        last, changed_at = None, time.monotonic()
        while True:
            done = self._is_done(drain=drain)
            if done:
                return
            mark = (self.spool.depth(IMAGES), self.spool.depth(REPLIES), self.emptied)
            if mark != last:
                last, changed_at = mark, time.monotonic()
            elif time.monotonic() - changed_at > STUCK_S:
                counters = self.source.context.counters
                raise AssertionError(
                    f"no progress: {mark}, missing {self.arrived.missing(self.sent)}; the source is"
                    f" {counters.state} ({counters.reason}), {self.clock.waiting} threads wait"
                )
            time.sleep(0.002)
            if (self.spool.depth(IMAGES), self.spool.depth(REPLIES), self.emptied) == last:
                self._turn(1.0)

    def _is_done(self, *, drain: bool) -> bool:
        if not self.inbox.is_dir():
            return True
        if self.spool.depth(IMAGES) > (0 if drain else 1):  # one may wait for others to get through
            return False
        down = self.broker_is_down() and not drain
        return down or not (self.spool.depth(REPLIES) or any(self.inbox.iterdir()))


def _number(event: Event) -> int:
    return int(str(event.subject).partition(".")[0])

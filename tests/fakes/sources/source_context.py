"""An agent as one source sees it, without a queue on disk."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.events import event_id, source_uri
from eaves.http_client.proxies import DIRECT
from eaves.sources.context import Cause, Frame, Outcome, State
from tests.fakes.sources.sent_index import DictIndex


class RecordingContext:
    """Implements `eaves.sources.context.SourceContext`; options of the source are not applied.

    Attributes:
        frames: What was captured, in order.
        dropped: Frames passed over, by cause.
        states: Each state reported, with its reason, but for repetitions.
        reasons: Why frames were passed over, as the log says it.
        reconnects: How often `reconnected` was called.
        refuse: Raised by `capture` while it is set.
    """

    def __init__(self, name: str = "cam", *, clock: Clock = SYSTEM) -> None:
        self.name = name
        self.source = source_uri("local", name)
        self.agent_id = "0badcafe"
        self.options_digest = b""
        self.clock = clock
        self.max_bytes = 20_000_000
        self.credentials: Path | None = None
        self.proxies = DIRECT
        self.index = DictIndex(clock)
        self.frames: list[Frame] = []
        self.dropped: Counter[str] = Counter()
        self.states: list[tuple[str, str]] = []
        self.reconnects = 0
        self.reasons: list[str] = []
        self.refuse: Exception | None = None
        self._stop = StopFlag(clock)
        self._wakes: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        self._stop.set()
        for wake in list(self._wakes):
            wake()

    def wait(self, seconds: float) -> bool:
        return not self._stop.wait(seconds)

    @contextmanager
    def on_stop(self, wake: Callable[[], None]) -> Iterator[None]:
        self._wakes.append(wake)
        if self.stopping:
            wake()
        try:
            yield
        finally:
            self._wakes.remove(wake)

    def capture(self, frame: Frame) -> Outcome:
        with self._lock:
            if self.refuse is not None:
                raise self.refuse
            identity = event_id(self.source, frame.position)
            if self.index.seen(self.source, identity):
                self.dropped["duplicate"] += 1
                return Outcome.DROPPED
            self.index.put(identity)
            self.frames.append(frame)
            return Outcome.CAPTURED

    def drop(
        self, cause: Cause, count: int = 1, *, reason: str = "", key: str = "", error: Exception | None = None
    ) -> None:
        self.dropped[cause] += count
        if reason:
            self.reasons.append(reason)

    def report(self, state: State, reason: str = "") -> None:
        if not self.states or self.states[-1] != (state, reason):
            self.states.append((state, reason))

    def reconnected(self) -> None:
        self.reconnects += 1

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Nobody looks at it."""

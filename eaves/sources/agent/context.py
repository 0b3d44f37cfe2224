"""A source's interface to its agent, which stores each frame as an event in the spool."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, Clock, StopFlag
from eaves.errors import SpoolFullError
from eaves.events import CONTEXT_ATTRIBUTES, Event, source_uri
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.logs import HourlyLog
from eaves.redact import redact
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.context import ERRORS, Cause, Dropped, Frame, Outcome, SentIndex, State
from eaves.sources.files import build_capture, build_text
from eaves.sources.options import FrameEditor, FrameOptions
from eaves.spool.settings import ATTRIBUTES_BYTES

SILENT_S = 900.0
"""Time after which a source counts as hung when it calls no method of its context, seconds. It is three times the
longest time between two calls that `SourceContext` allows."""

MAX_DROPPED = 10_000
"""Maximum number of keys of dropped frames that are remembered. Beyond it, all are forgotten and counted again."""

_log = logging.getLogger(__name__)


class AgentContext:
    """Implements `eaves.sources.context.SourceContext` for one source.

    Args:
        name: Name of the source.
        site: Name of the site.
        node: Name of the node, if the source runs on several nodes.
        index: Durable memory of the events that were captured.
        store: Function that stores an event durably and returns False when the event was stored before. It may raise
            SpoolError.
        max_bytes: Maximum size of an image that is stored, bytes.
        spool_max_bytes: Maximum size of the spool, bytes.
        credentials: Folder of the source's credentials; None without credentials.
        proxies: HTTP proxies of the process.
        options: Options that are applied to each frame.
        agent_id: Id of the agent; None for a new random id, when no spool outlives the process.
        clock: Wall clock and monotonic clock.

    Attributes:
        counters: Counters and state of the source.
        facts: What the source has found in its input.
    """

    def __init__(
        self,
        name: str,
        *,
        site: str,
        node: str = "",
        index: SentIndex,
        store: Callable[[Event], bool],
        max_bytes: int,
        spool_max_bytes: int,
        credentials: Path | None = None,
        proxies: Proxies = DIRECT,
        options: FrameOptions | None = None,
        agent_id: str | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self.source = source_uri(site, name)
        self._camera = f"{name}@{node}" if node else name
        self.agent_id = agent_id or secrets.token_hex(4)
        self.clock = clock
        self.index = index
        self.options_digest = (options or FrameOptions()).selection_digest()
        self.max_bytes = min(max_bytes, spool_max_bytes - ATTRIBUTES_BYTES)
        self.credentials = credentials
        self.proxies = proxies
        self.counters = SourceCounters(clock)
        self.facts: Mapping[str, Any] = {}
        self._store = store
        self._spool_max_bytes = spool_max_bytes
        self._editor = FrameEditor(options or FrameOptions(), clock=clock)
        self._stop = StopFlag(clock)
        self._reporting = threading.Lock()
        self._states, self._drops = HourlyLog(clock), HourlyLog(clock)
        self._dropped: set[str] = set()
        self._absence_logged = True
        self._wakes: list[Callable[[], None]] = []
        self._alive_until = clock.monotonic() + SILENT_S

    @property
    def stopping(self) -> bool:
        """Whether the source must return from `run`."""
        self._mark_alive()
        return self._stop.is_set()

    @property
    def silent(self) -> bool:
        """Whether the source has not used the context for so long that it counts as hung."""
        return self.clock.monotonic() > self._alive_until

    def stop(self) -> None:
        """Ask the source to return from `run`."""
        self._stop.set()
        for wake in list(self._wakes):
            wake()

    def wait(self, seconds: float) -> bool:
        """Wait for a number of seconds, or until the source must return; return False when it must return."""
        self._mark_alive(seconds)
        stopping = self._stop.wait(seconds)
        self._mark_alive()
        return not stopping

    @contextmanager
    def on_stop(self, wake: Callable[[], None]) -> Iterator[None]:
        """Within the block, call `wake` when the source must return."""
        self._wakes.append(wake)
        if self.stopping:
            wake()
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):
                self._wakes.remove(wake)

    def capture(self, frame: Frame) -> Outcome:
        """Apply the source's options to a frame and store its event, which is on disk when this method returns.

        Raises:
            SpoolFullError: When the queue has no room now.
            SpoolError: When the queue can't be written now.
            ValueError: When the frame's extensions would replace an attribute of the event itself.
        """
        self._mark_alive()
        edited = self._editor.edit(frame)
        if isinstance(edited, Dropped):
            return self._count_drop(frame, edited)
        if len(edited.data) > self.max_bytes:
            reason = f"the edited image has {len(edited.data)} bytes, more than {self.max_bytes}"
            return self._count_drop(frame, Dropped("too_large", reason))
        if wrong := sorted(CONTEXT_ATTRIBUTES & edited.extensions.keys()):
            named = ", ".join(wrong)
            raise ValueError(f"a frame's extensions must not name attributes of the event itself (got {named})")
        event = build_capture(edited, source=self.source, camera=self._camera)
        try:
            stored = self._store(event)
        except SpoolFullError as error:
            raise SpoolFullError(f"spool is full ({self._spool_max_bytes / 1e9:.3g} GB)", hint=error.hint) from error
        if not stored:
            self.counters.count_dropped("duplicate")
            return Outcome.DROPPED
        self.counters.count_captured()
        _log.info("captured %s", (event.subject or event.id)[:256], extra={"event_id": event.id, "source": self.source})
        return Outcome.CAPTURED

    def drop(
        self, cause: Cause, count: int = 1, *, reason: str = "", key: str = "", error: Exception | None = None
    ) -> None:
        """Count frames that the source itself dropped, without passing them to `capture`, and log why."""
        self._mark_alive()
        with self._reporting:
            if key in self._dropped:
                return
            if key:
                if len(self._dropped) >= MAX_DROPPED:
                    self._dropped.clear()
                self._dropped.add(key)
        self.counters.count_dropped(cause, count)
        if reason:
            self._log_drop(cause, reason, error)

    def report(self, state: State, reason: str = "") -> None:
        """Report what the source does now; its return to `watching` is logged when its absence was."""
        self._mark_alive()
        with self._reporting:
            if not self.counters.change_state(state, reason):
                return
            if state == "watching":
                if self._absence_logged:
                    _log.info("source %s is watching", self.name)
                self._absence_logged = True
                return
            shown = f"{state}: {self.counters.reason}" if self.counters.reason else state
            self._absence_logged = self._states.admit(state, shown)
            if self._absence_logged:
                _log.warning("source %s is %s", self.name, shown)

    def reconnected(self) -> None:
        """Count a reconnection to the source's server or broker."""
        self._mark_alive()
        self.counters.count_reconnect()

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Keep what was found in the source's input."""
        self.facts = facts

    def _count_drop(self, frame: Frame, dropped: Dropped) -> Outcome:
        """Count a frame that becomes no event."""
        self.counters.count_dropped(dropped.cause, reason=dropped.reason)
        if dropped.reason:
            self._log_drop(dropped.cause, f"{build_text(frame.subject)[:256] or 'an image'}: {dropped.reason}")
        return Outcome.UNUSABLE if dropped.cause in ERRORS else Outcome.DROPPED

    def _log_drop(self, cause: Cause, reason: str, error: Exception | None = None) -> None:
        shown = redact(reason)[:512]
        with self._reporting:
            is_logged = self._drops.admit(cause, shown)
        if is_logged:
            _log.error("source %s: not captured (%s): %s", self.name, cause, shown, exc_info=error)

    def _mark_alive(self, seconds: float = 0.0) -> None:
        self._alive_until = self.clock.monotonic() + seconds + SILENT_S

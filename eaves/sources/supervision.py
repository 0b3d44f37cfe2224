"""Runs a source in a thread of its own for as long as the process lives, whatever the source raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from eaves.backoff import Backoff
from eaves.clock import SYSTEM, Clock, StopFlag
from eaves.sources.source import Source

RESTART = Backoff(retry=None, first_s=1.0, cap_s=60.0)
STEADY_S = 300.0
"""A run that lasted so long, seconds, was a good one: the next pause is the shortest again."""
JOIN_S = 10.0
"""Longest wait for a source to stop, seconds. One that hangs on a network folder ends with the process."""

_log = logging.getLogger(__name__)


class SupervisedSource:
    """One source, started again with growing pauses whenever it ends unasked.

    The source's own state and counters go on: the same object is run again.

    Args:
        name: The source's name, for the log.
        source: The source.
        clock: Time.

    Attributes:
        restarts: How often the source ended unasked.
    """

    def __init__(self, name: str, source: Source, *, clock: Clock = SYSTEM) -> None:
        self.restarts = 0
        self._name = name
        self._source = source
        self._clock = clock
        self._stopping = StopFlag(clock)
        self._failure = ""
        self._logged: set[tuple[type[Exception], int, str]] = set()
        self._thread = threading.Thread(target=self._run, name=f"source-{name}", daemon=True)

    @property
    def state(self) -> str:
        """The source's state, or `failed` while it waits to be started again."""
        return "failed" if self._failure else self._source.state

    @property
    def reason(self) -> str:
        """Why the source captures nothing now; empty while it does."""
        return self._failure or self._source.reason

    @property
    def captured(self) -> int:
        """Images handed to the spool since the process started."""
        return self._source.captured

    @property
    def dropped(self) -> Mapping[str, int]:
        """Images passed over since the process started, by cause."""
        return self._source.dropped

    @property
    def last_captured_at(self) -> float | None:
        """When the last image was captured, Unix seconds; None before the first."""
        return self._source.last_captured_at

    def is_alive(self) -> bool:
        """Whether the source runs, or will be started again."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Run the source from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the source and wait for it."""
        self._stopping.set()
        self._source.stop()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            try:
                self._source.run()
                failure = "the source ended by itself"
            except Exception as error:  # noqa: BLE001 - the source is started again
                failure = f"{type(error).__name__}: {error}"[:256]
                self._log_once(error)
            if self._stopping.is_set():
                return
            failures = 1 if self._clock.monotonic() - began >= STEADY_S else failures + 1
            self.restarts += 1
            self._failure = failure
            self._stopping.wait(RESTART.pause_s(failures))
            self._failure = ""

    def _log_once(self, error: Exception) -> None:
        """Log an error with its traceback the first time it comes from this place in the code."""
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        line, file = (traceback.tb_lineno, traceback.tb_frame.f_code.co_filename) if traceback else (0, "")
        place = (type(error), line, file)
        if place not in self._logged:
            self._logged.add(place)
            _log.error(
                "source %s failed; it is started again, and this error is not logged again", self._name, exc_info=error
            )

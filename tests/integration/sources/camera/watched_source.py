"""A camera source with its agent's context and its real decoder, watched: memory, log, processes, events."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.events import Event
from eaves.sources.agent.context import AgentContext
from eaves.sources.camera.kind import CameraSettings
from eaves.sources.camera.source import CameraSource
from tests.inputs.videos import Video, read_number
from tests.sources.contexts import build_context
from tests.waiting import wait_until

PASSWORD = "s3cret-word"
LOGIN = f"camera:{PASSWORD}"
SILENT_S = 1.0
CONNECT_S = 1.0
DECODER = b"eaves.sources.camera.decoder"
MAX_BYTES = 500_000_000
"""The setting `decoder_max_bytes` of these sources."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Decoders(threading.Thread):
    """Looks at the decoders of this process all the time.

    Attributes:
        pids: Every decoder so far.
        peak_bytes: Largest resident memory of one.
        seen: Command lines and environments of all of them.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.pids: list[int] = []
        self.peak_bytes = 0
        self.seen: set[bytes] = set()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.02):
            for pid in find_decoders():
                self._look(pid)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _look(self, pid: int) -> None:
        try:
            self.seen |= {Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")}
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return
        self.peak_bytes = max(self.peak_bytes, resident)
        if pid not in self.pids:
            self.pids.append(pid)


def find_decoders() -> list[int]:
    """The decoders that this process has started and that still run."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:  # a thread that has ended
            continue
        for child in children:
            try:
                if DECODER in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
            except OSError:
                continue
    return found


class LogLines(logging.Handler):
    """Lines that Eaves logs, but for those of captured images."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not message.startswith("captured "):
            self.lines.append(message)


class WatchedSource:
    """A source that runs.

    Attributes:
        context: Its agent's context.
        events: Events that it stored.
        arrived: Unix time at which each of them was stored.
        decoders: Its decoders, watched.
        log: What was logged.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock = SYSTEM,
        credentials: Path | None = None,
        max_bytes: int = 20_000_000,
        **values: Any,
    ) -> None:
        self.events: list[Event] = []
        self.arrived: list[float] = []
        self.context: AgentContext = build_context(
            clock=clock, store=self._store, credentials=credentials, max_bytes=max_bytes
        )
        given = {"silent_s": SILENT_S, "connect_timeout_s": CONNECT_S, "decoder_max_bytes": MAX_BYTES, **values}
        self._source = CameraSource(CameraSettings(url=url, **given), self.context)
        self.decoders = Decoders()
        self.log = LogLines()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def numbers(self) -> list[int]:
        """The numbers that are drawn into the captured frames."""
        return [read_number(event.data) for event in self.events]

    def find_errors_s(self, video: Video) -> list[float]:
        """Time of each event less the time of its picture, seconds."""
        errors = []
        for event, at in zip(list(self.events), self.arrived, strict=False):
            assert event.time is not None
            taken = datetime.fromisoformat(event.time).timestamp()
            errors.append(taken - video.shown_at_s(read_number(event.data), at))
        return errors

    @property
    def warnings(self) -> list[str]:
        """Lines of the log about states in which nothing is captured, and about frames that were dropped."""
        return [line for line in self.log.lines if not line.endswith(" is watching")]

    def wait_for_frames(self, further: int = 2, timeout_s: float = 20.0) -> None:
        """Wait for further events."""
        count = len(self.events) + further
        self._wait(lambda: len(self.events) >= count, timeout_s, f"{further} frames")

    def wait_for_state(self, state: str, reason: str = "", timeout_s: float = 20.0) -> None:
        """Wait for a state whose reason contains a text."""
        counters = self.context.counters
        self._wait(lambda: counters.state == state and reason in counters.reason, timeout_s, f"{state} {reason!r}")

    def wait_for_warning(self, text: str, timeout_s: float = 20.0) -> None:
        """Wait for a line of the log that contains a text."""
        self._wait(lambda: any(text in line for line in self.warnings), timeout_s, f"{text!r} in the log")

    def describe(self) -> str:
        """State, log and counters, for the failure of a test."""
        counters = self.context.counters
        return f"{counters.state}: {counters.reason}; log {self.log.lines[-10:]}; dropped {dict(counters.dropped)}"

    def start(self) -> None:
        logging.getLogger("eaves").addHandler(self.log)
        logging.getLogger("eaves").setLevel(logging.INFO)
        self.decoders.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop it as the agent does, within the agent's two seconds, and leave no decoder."""
        began = time.monotonic()
        self.context.stop()
        self._thread.join(10)
        took_s = time.monotonic() - began
        self.decoders.stop()
        logging.getLogger("eaves").removeHandler(self.log)
        logging.getLogger("eaves").setLevel(logging.NOTSET)
        assert not self._thread.is_alive(), "the source doesn't stop"
        assert took_s < 2.5, f"the source took {took_s:.1f} s to stop"

    def check(self, *, peak_bytes: int, warnings: int, repeats: int) -> None:
        """Check what holds for every camera, whatever it does.

        Args:
            peak_bytes: Maximum memory of a decoder.
            warnings: Maximum number of lines in the log, whatever they say.
            repeats: Maximum number of lines that say the same.
        """
        assert self.failure is None, self.failure
        assert self.decoders.peak_bytes < peak_bytes, f"{self.decoders.peak_bytes / 1e6:.0f} MB"
        assert len(self.warnings) <= warnings, self.warnings
        repeated = [line for line, count in Counter(self.warnings).items() if count > repeats]
        assert not repeated, repeated
        ids = [event.id for event in self.events]
        assert len(set(ids)) == len(ids)
        assert "duplicate" not in self.context.counters.dropped
        for text in (*self.log.lines, self.context.counters.reason, *(str(event) for event in self.events)):
            assert PASSWORD not in text
        assert self.decoders.seen or not self.decoders.pids
        assert not [one for one in self.decoders.seen if PASSWORD.encode() in one]

    def _wait(self, predicate: Callable[[], bool], timeout_s: float, what: str) -> None:
        try:
            wait_until(predicate, timeout_s, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.describe()}") from None

    def _run(self) -> None:
        try:
            self._source.run()
        except BaseException as error:
            self.failure = error
            raise

    def _store(self, event: Event) -> bool:
        self.arrived.append(time.time())
        self.events.append(event)
        return True


@contextmanager
def watch(
    url: str,
    *,
    peak_bytes: int = 150_000_000,
    warnings: int = 2,
    repeats: int = 1,
    clock: Clock = SYSTEM,
    credentials: Path | None = None,
    **values: Any,
) -> Iterator[WatchedSource]:
    """A source that runs in the block, and what holds for every camera at its end.

    Args:
        url: Address of the stream, with `LOGIN`.
        peak_bytes: Maximum memory of a decoder.
        warnings: Maximum number of lines in the log that are no news of success.
        repeats: Maximum number of lines in the log that say the same.
        clock: Clock of the source.
        credentials: Folder of its credentials.
        values: `max_bytes` of an image, and other settings of the stream.
    """
    watched = WatchedSource(url, clock=clock, credentials=credentials, **values)
    watched.start()
    try:
        yield watched
    finally:
        watched.stop()
    wait_until(lambda: not set(find_decoders()) & set(watched.decoders.pids), what="the end of the decoders")
    watched.check(peak_bytes=peak_bytes, warnings=warnings, repeats=repeats)

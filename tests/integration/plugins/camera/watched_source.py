"""A camera source with its agent's context and its real decoder, watched: memory, log, processes, events."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.events import Event
from tests.inputs.videos import Video, read_number
from tests.proc import memory_bytes
from tests.sources.running_camera import RunningCamera, find_decoders, run_camera
from tests.waiting import wait_until

PASSWORD = "s3cret-word"
LOGIN = f"camera:{PASSWORD}"
MAX_BYTES = 500_000_000
"""The setting `decoder_max_bytes` of these sources."""


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
            resident = memory_bytes(pid)
        except (OSError, IndexError):
            return
        self.peak_bytes = max(self.peak_bytes, resident)
        if pid not in self.pids:
            self.pids.append(pid)


class LogLines(logging.Handler):
    """Lines that Eaves logs about states in which nothing is captured, and about frames that were dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not message.startswith("captured ") and not message.endswith(" is watching"):
            self.lines.append(message)


@dataclass
class WatchedSource(RunningCamera):
    """A source that runs.

    Attributes:
        arrived: Unix time at which each event was stored.
        decoders: Its decoders, watched.
        log: What was logged.
    """

    arrived: list[float] = field(default_factory=list)
    decoders: Decoders = field(default_factory=Decoders)
    log: LogLines = field(default_factory=LogLines)

    @property
    def numbers(self) -> list[int]:
        """The numbers that are drawn into the captured frames."""
        return [read_number(event.data) for event in self.events]

    def store(self, event: Event) -> bool:
        self.arrived.append(time.time())
        return super().store(event)

    def find_errors_s(self, video: Video) -> list[float]:
        """Time of each event less the time of its picture, seconds."""
        errors = []
        for event, at in zip(list(self.events), self.arrived, strict=False):
            assert event.time is not None
            taken = datetime.fromisoformat(event.time).timestamp()
            errors.append(taken - video.shown_at_s(read_number(event.data), at))
        return errors

    def wait_for_frames(self, further: int = 2) -> None:
        """Wait for further events."""
        self.wait_for(len(self.events) + further)

    def wait_for_warning(self, text: str) -> None:
        """Wait for a line of the log that contains a text."""
        wait_until(lambda: any(text in line for line in self.log.lines), 20, what=f"{text!r} in the log; {self.state}")

    def check(self, *, peak_bytes: int, warnings: int, repeats: int) -> None:
        """Check what holds for every camera, whatever it does.

        Args:
            peak_bytes: Maximum memory of a decoder.
            warnings: Maximum number of lines in the log, whatever they say.
            repeats: Maximum number of lines that say the same.
        """
        assert self.decoders.peak_bytes < peak_bytes, f"{self.decoders.peak_bytes / 1e6:.0f} MB"
        assert len(self.log.lines) <= warnings, self.log.lines
        repeated = [line for line, count in Counter(self.log.lines).items() if count > repeats]
        assert not repeated, repeated
        assert "duplicate" not in self.dropped
        for text in (*self.log.lines, self.state[1], *(str(event) for event in self.events)):
            assert PASSWORD not in text
        assert self.decoders.seen or not self.decoders.pids
        assert not [one for one in self.decoders.seen if PASSWORD.encode() in one]


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
        values: Other settings of the stream.
    """
    watched, logger = WatchedSource(), logging.getLogger("eaves")
    given = {"silent_s": 1.0, "connect_timeout_s": 1.0, "decoder_max_bytes": MAX_BYTES, **values}
    logger.addHandler(watched.log)
    watched.decoders.start()
    try:
        with run_camera(url, clock=clock, credentials=credentials, camera=watched, **given):
            yield watched
            watched.stop(2.5)  # within the agent's two seconds
    finally:
        watched.decoders.stop()
        logger.removeHandler(watched.log)
    watched.check(peak_bytes=peak_bytes, warnings=warnings, repeats=repeats)

"""One complete file > one event in the spool."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType

from eaves.clock import Clock
from eaves.errors import SpoolError, StorageError
from eaves.events import Event, event_id, source_uri
from eaves.sources.files import build_capture, build_subject, position
from eaves.sources.folder.reader import FileVersion, read_file
from eaves.sources.settings import ATTRIBUTES_BYTES, AgentSettings

MAX_REPORTED = 10_000
"""Files whose failure is remembered so that it is logged and counted once; beyond, all of them are reported again."""

_log = logging.getLogger(__name__)


class Outcome(Enum):
    """What came of a file."""

    CAPTURED = auto()
    """Its event is in the spool."""
    PASSED_OVER = auto()
    """This version of it will never become an event."""
    CHANGED = auto()
    """It is not what was noticed; it may be complete later."""
    FAILED = auto()
    """It is gone, or can't be read for now; the next scan may find it again."""


class Capturer:
    """Reads complete files and emits their events. For one thread; the counters may be read from any.

    Args:
        settings: The agent's.
        emit: Takes each event; when it returns the event is durable.
        clock: Time.

    Attributes:
        captured: Images emitted.
        last_captured_at: When the last one was, Unix seconds; None before the first.
    """

    def __init__(self, settings: AgentSettings, emit: Callable[[Event], object], clock: Clock) -> None:
        self.captured = 0
        self.last_captured_at: float | None = None
        self._settings = settings
        self._source = source_uri(settings.site, settings.source)
        self._emit = emit
        self._clock = clock
        self._max_bytes = min(settings.max_bytes, settings.spool_max_bytes - ATTRIBUTES_BYTES)
        self._dropped: Counter[str] = Counter()
        self._reported: set[str] = set()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Images passed over, by cause.

        `too_large` and `unsupported` (HEIC, AVIF) for good, `unreadable` and `failed` until they can be captured.
        """
        return MappingProxyType(dict(self._dropped))

    def identify(self, relative: str, version: FileVersion) -> str:
        """The id of a file's event."""
        return event_id(self._source, position(relative, mtime_ns=version.mtime_ns, size_bytes=version.size_bytes))

    def reported(self, identity: str) -> bool:
        """Whether the file of this event id could not be captured before."""
        return identity in self._reported

    def capture(self, relative: str, version: FileVersion, identity: str) -> Outcome:
        """Read a file and emit its event. A file that can't become one holds up no other.

        Raises:
            StorageError: When the folder itself is gone.
            SpoolError: When the spool doesn't take the event now.
        """
        name = build_subject(Path(relative))[:256]
        if version.size_bytes > self._max_bytes:
            self._report("too_large", identity, f"{name} has {version.size_bytes} bytes, more than {self._max_bytes}")
            return Outcome.PASSED_OVER
        try:
            data = read_file(self._settings.path, relative, version)
            if data is None:
                return Outcome.CHANGED
            self._emit(self._build(relative, version, identity, data))
        except (SpoolError, StorageError):
            raise
        except FileNotFoundError:
            return Outcome.FAILED
        except OSError as error:
            self._report("unreadable", identity, f"{name} can't be read ({error.strerror}); it is tried again")
            return Outcome.FAILED
        except Exception as error:  # noqa: BLE001 - one file must not hold up all others
            self._report("failed", identity, f"{name} can't be made an event; it is tried again", error)
            return Outcome.FAILED
        self.captured += 1
        self.last_captured_at = self._clock.now()
        self._reported.discard(identity)
        _log.info("captured %s", name, extra={"event_id": identity})
        return Outcome.CAPTURED

    def report_folder(self, relative: str, error: OSError) -> None:
        """Log and count, once, a folder below the watched one that can't be listed."""
        name = build_subject(Path(relative))[:256]
        self._report(
            "unreadable", f"{relative}/", f"folder {name} can't be listed ({error.strerror}); it is tried again"
        )

    def report_unsupported(self, relative: str) -> None:
        """Count, once, an image in a format that no function reads; the first one of all is logged."""
        if f"{relative}//" in self._reported:
            return
        first = not self._dropped["unsupported"]
        self._count("unsupported", f"{relative}//")
        if first:
            _log.error(
                "not captured: %s: HEIC and AVIF are not read by functions; let the camera or an export write JPEG. "
                "Further such files are only counted, as dropped for the cause unsupported",
                build_subject(Path(relative))[:256],
            )

    def _build(self, relative: str, version: FileVersion, identity: str, data: bytes) -> Event:
        first, deeper, _ = relative.partition("/")
        return build_capture(
            source=self._source,
            identity=identity,
            subject=build_subject(Path(relative)),
            mtime_ns=version.mtime_ns,
            data=data,
            camera=build_subject(Path(first)) if deeper else self._settings.source,
        )

    def _report(self, cause: str, key: str, message: str, error: Exception | None = None) -> None:
        if key not in self._reported:
            self._count(cause, key)
            _log.error("not captured: %s", message, exc_info=error)

    def _count(self, cause: str, key: str) -> None:
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(key)
        self._dropped[cause] += 1

"""Conversion of one complete file into one frame for the agent."""

from __future__ import annotations

import logging
from enum import Enum, auto
from pathlib import Path

from eaves.errors import SpoolError, StorageError
from eaves.events import event_id
from eaves.sources.context import SourceContext
from eaves.sources.files import build_subject, position
from eaves.sources.folder.reader import FileVersion, read_file
from eaves.sources.frame import Cause, Frame

MAX_REPORTED = 10_000
"""Maximum number of failed files that are remembered, so that each is logged and counted only once. Beyond that number,
the memory is emptied and all failed files are reported again."""

_log = logging.getLogger(__name__)


class FileOutcome(Enum):
    """Result of the attempt to capture a file; the first three are those of `Outcome`."""

    CAPTURED = auto()
    """The file's event is in the spool."""
    DROPPED = auto()
    """This version of the file will never become an event, because an option of the source leaves it out."""
    UNUSABLE = auto()
    """This version of the file can't become an event with the source's settings, which the next start may change."""
    CHANGED = auto()
    """The file has changed since it was noticed; it may be complete later."""
    FAILED = auto()
    """The file is gone, or can't be read for now; the next scan may find it again."""


class Capturer:
    """Reads complete files and passes them to the agent. For one thread only.

    Args:
        root: Folder that is watched.
        context: Interface to the agent.
    """

    def __init__(self, root: Path, context: SourceContext) -> None:
        self._root = root
        self._context = context
        self._reported: set[str] = set()
        self._logged_unsupported = False

    def identify(self, relative: str, version: FileVersion) -> str:
        """Return the id of the event that one version of a file becomes."""
        return event_id(self._context.source, _position(relative, version))

    def reported(self, identity: str) -> bool:
        """Return whether an earlier attempt to capture the file of this event id failed."""
        return identity in self._reported

    def capture(self, relative: str, version: FileVersion, identity: str) -> FileOutcome:
        """Read a file and pass it to the agent; a fault of the file is reported, so that other files can follow.

        Raises:
            StorageError: When the folder itself is missing.
            SpoolError: When the spool doesn't take the event now.
        """
        name = build_subject(Path(relative))[:256]
        largest = self._context.max_bytes
        if version.size_bytes > largest:
            self._report("too_large", identity, f"{name} has {version.size_bytes} bytes, more than {largest}")
            return FileOutcome.UNUSABLE
        try:
            data = read_file(self._root, relative, version)
            if data is None:
                return FileOutcome.CHANGED
            outcome = self._context.capture(_build_frame(relative, version, data))
        except (SpoolError, StorageError):
            raise
        except FileNotFoundError:
            return FileOutcome.FAILED
        except OSError as error:
            self._report("unreadable", identity, f"{name} can't be read ({error.strerror}); the source tries again")
            return FileOutcome.FAILED
        except Exception as error:  # noqa: BLE001 - one file must not stop all others
            self._report("failed", identity, f"{name} can't be made into an event; the source tries again", error)
            return FileOutcome.FAILED
        self._reported.discard(identity)
        return FileOutcome[outcome.name]

    def report_folder(self, relative: str, error: OSError) -> None:
        """Log and count a subfolder that can't be listed, once for each subfolder."""
        name = build_subject(Path(relative))[:256]
        self._report(
            "unreadable", f"{relative}/", f"folder {name} can't be listed ({error.strerror}); the source tries again"
        )

    def report_unsupported(self, relative: str) -> None:
        """Count, once per file, an image in a format that no function reads; only the first one is logged."""
        if f"{relative}//" in self._reported:
            return
        self._count("unsupported", f"{relative}//")
        if not self._logged_unsupported:
            self._logged_unsupported = True
            _log.error(
                "not captured: %s: functions can't read HEIC and AVIF; set the camera or the "
                "export to JPEG. Further such files are not logged; they are counted as "
                "dropped, with the cause unsupported",
                build_subject(Path(relative))[:256],
            )

    def _report(self, cause: Cause, key: str, message: str, error: Exception | None = None) -> None:
        if key not in self._reported:
            self._count(cause, key)
            _log.error("not captured: %s", message, exc_info=error)

    def _count(self, cause: Cause, key: str) -> None:
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(key)
        self._context.drop(cause)


def _position(relative: str, version: FileVersion) -> str:
    return position(relative, mtime_ns=version.mtime_ns, size_bytes=version.size_bytes)


def _build_frame(relative: str, version: FileVersion, data: bytes) -> Frame:
    first, deeper, _ = relative.partition("/")
    return Frame(
        data=data,
        position=_position(relative, version),
        subject=build_subject(Path(relative)),
        captured_at_ns=version.mtime_ns,
        camera=build_subject(Path(first)) if deeper else "",
    )

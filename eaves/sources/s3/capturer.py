"""Conversion of one object into one frame for the agent."""

from __future__ import annotations

import logging
from enum import Enum, auto

from eaves.bucket.bucket import Bucket, StoredObject
from eaves.bucket.location import BucketLocation
from eaves.errors import ForbiddenError, ImageTooLargeError, NotFoundError, SpoolError, StatusError
from eaves.events import event_id
from eaves.sources.context import SourceContext
from eaves.sources.files import build_text
from eaves.sources.frame import Cause, Frame
from eaves.sources.spool_refusal import REFUSED, explain_refusal

MAX_REPORTED = 10_000
"""Maximum number of failed objects that are remembered, so that each is logged and counted only once. Beyond that
number, the memory is emptied and all failed objects are reported again."""
STRUGGLING = 10
"""Number of objects that can't be read one after the other at which the store itself seems to be at fault."""
MAX_BATCH = 200
"""Maximum number of further objects that are tried between two pauses then. The number doubles from `STRUGGLING`: the
store is not asked for all objects in vain, and thousands of unreadable objects, which anybody who may write to the
bucket can put there, hold up the images behind them by minutes."""
MAX_LOGGED, LOGGED_S = 20, 3600.0
"""Maximum number of failed objects that are logged within this time, seconds."""
_MEDIA = {"jpg": "jpeg", "tif": "tiff"}

_log = logging.getLogger(__name__)


class ObjectOutcome(Enum):
    """Result of the attempt to capture an object; the first three are those of `Outcome`."""

    CAPTURED = auto()
    """The object's event is in the spool."""
    DROPPED = auto()
    """This version of the object will never become an event, because an option of the source leaves it out."""
    UNUSABLE = auto()
    """This version of the object can't become an event with the source's settings, which the next start may change."""
    GONE = auto()
    """This version of the object was deleted or replaced, or is in an archive."""
    FAILED = auto()
    """The object can't be read for now; the next pass over the bucket tries again."""
    STOPPED = auto()
    """The agent stops."""


class ObjectCapturer:
    """Reads objects and passes them to the agent. For one thread only.

    Args:
        bucket: Bucket with the objects.
        location: Location of the bucket.
        context: Interface to the agent.
        refers: Whether events refer to the images in the bucket instead of holding them.

    Attributes:
        failure: Why the last object could not be read, while many could not be read one after the other; empty
            otherwise.
        pausing: Whether the next object must wait because of that.
    """

    def __init__(self, bucket: Bucket, location: BucketLocation, context: SourceContext, *, refers: bool) -> None:
        self._bucket = bucket
        self._location = location
        self._context = context
        self._refers = refers
        self._reported: set[str] = set()
        self._logged_unsupported = False
        self._failures, self._batch, self._pause_at = 0, STRUGGLING, STRUGGLING
        self._logged, self._logged_since_s = 0, float("-inf")
        self.failure = ""
        self.pausing = False

    def identify(self, found: StoredObject) -> str:
        """Return the id of the event that one version of an object becomes."""
        return event_id(self._context.source, self._position(found))

    def capture(self, found: StoredObject, identity: str) -> ObjectOutcome:
        """Read an object and pass it to the agent; wait while the spool takes no image.

        A fault of the object is reported, so that other objects can follow.

        Raises:
            DeliveryError: When the store can't be reached.
            ConfigError: When the store refuses the access key.
        """
        name, largest = build_text(found.key)[:256], self._context.max_bytes
        self.pausing = False
        try:
            if found.size_bytes > largest:
                raise ImageTooLargeError(f"it has {found.size_bytes} bytes, more than {largest}")
            built = self._build_frame(found)
        except ImageTooLargeError as error:
            self._report("too_large", identity, f"{name}: {error.message}")
            return ObjectOutcome.UNUSABLE
        except NotFoundError:
            return ObjectOutcome.GONE
        except (ForbiddenError, StatusError) as error:
            self._report("unreadable", identity, f"{error.message}; the source tries again")
            self._note_failure(error.message)
            return ObjectOutcome.FAILED
        self._failures, self._batch, self._pause_at = 0, STRUGGLING, STRUGGLING
        self.failure = ""
        return self._store(built, identity, name)

    def report_unsupported(self, key: str) -> None:
        """Count, once per object, an image in a format that no function reads; only the first one is logged."""
        if f"{key}//" in self._reported:
            return
        self._count("unsupported", f"{key}//")
        if not self._logged_unsupported:
            self._logged_unsupported = True
            _log.error(
                "not captured: %s: functions can't read HEIC and AVIF; set the camera or the export to JPEG. Further "
                "such objects are not logged; they are counted as dropped, with the cause unsupported",
                build_text(key)[:256],
            )

    def _note_failure(self, message: str) -> None:
        """Count an object that can't be read, and decide whether a pause follows."""
        self._failures += 1
        self.failure = message if self._failures >= STRUGGLING else ""
        if self._failures >= self._pause_at:
            self.pausing = True
            self._pause_at = self._failures + self._batch
            self._batch = min(MAX_BATCH, 2 * self._batch)

    def _store(self, built: Frame, identity: str, name: str) -> ObjectOutcome:
        """Pass a frame to the agent until the spool takes it, so that it needn't be downloaded again."""
        failures = 0
        while True:
            try:
                outcome = self._context.capture(built)
            except SpoolError as error:
                failures += 1
                self._context.report("paused", explain_refusal(error))
                if not self._context.wait(REFUSED.pause_s(failures)):
                    return ObjectOutcome.STOPPED
            except Exception as error:  # noqa: BLE001 - one object must not stop all others
                self._report("failed", identity, f"{name} can't be made into an event; the source tries again", error)
                return ObjectOutcome.FAILED
            else:
                self._reported.discard(identity)
                return ObjectOutcome[outcome.name]

    def _build_frame(self, found: StoredObject) -> Frame:
        below = found.key.removeprefix(self._location.prefix).lstrip("/")
        first, deeper, _ = below.partition("/")
        dataref = digest = content_type = ""
        data = b""
        if self._refers:
            exact = self._bucket.inspect(found)
            dataref, digest = self._bucket.url(exact), exact.digest
            suffix = below.rpartition(".")[2].lower()
            content_type = f"image/{_MEDIA.get(suffix, suffix)}"
        else:
            data = self._bucket.get(found, self._context.max_bytes)
        return Frame(
            data=data,
            position=self._position(found),
            subject=build_text(below),
            captured_at_ns=found.modified_at_ns,
            camera=build_text(first) if deeper else "",
            content_type=content_type,
            dataref=dataref,
            digest=digest,
        )

    def _position(self, found: StoredObject) -> str:
        """Return the text that identifies one version of an object.

        Listings have no version ids. Content and time of the last change tell versions apart as well, and are the same
        in a bucket without versions.
        """
        return f"{self._location.name}\0{found.key}\0{found.etag}\0{found.modified_at_ns}"

    def _report(self, cause: Cause, key: str, message: str, error: Exception | None = None) -> None:
        if key in self._reported:
            return
        self._count(cause, key)
        now_s = self._context.clock.monotonic()
        if now_s - self._logged_since_s >= LOGGED_S:
            self._logged, self._logged_since_s = 0, now_s
        self._logged += 1
        if self._logged <= MAX_LOGGED:
            further = "; further ones are counted, and not logged for an hour" if self._logged == MAX_LOGGED else ""
            _log.error("not captured: %s%s", message, further, exc_info=error)

    def _count(self, cause: Cause, key: str) -> None:
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(key)
        self._context.drop(cause)

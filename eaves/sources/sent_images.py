"""Memory of the images that were sent already; its size is bounded however many images come and go.

An image is a file of a folder or an object of a bucket, and a scan finds all that are present. The images that the last
scan found are kept in memory, up to a limit; all others are looked up on disk. The disk (the spool's index of sent
events) holds every sent image that is still present, and those that were removed recently. Once a day, the ids of the
images present are marked as still needed, and ids that have not been marked for `REMEMBER_S` are forgotten. The index
is bounded too, and drops the ids that were marked longest ago. Other sources, such as cameras, add ids to the same
index, so the images present are also marked when many ids were added since. More images than the index can hold would
be sent repeatedly, so the memory counts as full before that.
"""

from __future__ import annotations

from collections.abc import Callable

from eaves.errors import (
    ConfigError,
    DeliveryError,
    EavesError,
    ForbiddenError,
    ImageTooLargeError,
    NotFoundError,
    SpoolError,
    StatusError,
    StorageError,
)
from eaves.sources.context import Frame, Outcome, SourceContext
from eaves.sources.retry import capture_when_possible

KNOWN = 200_000
"""Maximum number of images kept in memory, about 100 bytes each; for further ones, a scan reads the index."""
REMEMBER_S = 604_800.0
"""Time for which an image that was removed is remembered, seconds: a disk may be unplugged for a week."""
TOUCH_EVERY_S = 86_400.0
"""Interval between two scans that mark the images present as still needed, seconds. Marking writes one row per
image, so once a day spares the disk and is frequent enough for `REMEMBER_S`."""
TOUCH_BATCH = 1_000
"""Maximum number of ids that are marked in one transaction, because other writers of the spool wait for it."""


class SentImages:
    """Event ids of the images of one source that were sent. For one thread only.

    Args:
        context: Interface to the agent, with the durable memory of sent events.
        max_present: Maximum number of images present; the index must hold twice as many ids.
        limit: Maximum number of images kept in memory.
    """

    def __init__(self, context: SourceContext, *, max_present: int, limit: int = KNOWN) -> None:
        self._context, self._index = context, context.index
        self._limit = limit
        self._max_present = max_present
        self._known: set[bytes] = set()
        self._found: set[bytes] | None = None
        self._touching = False
        self._touched_at = float("-inf")
        self._added = self._added_before_touch = 0
        self._batch: list[str] = []
        self._present = self._counted = 0
        self._passed_over: list[str] = []

    def __contains__(self, identity: str) -> bool:
        """Return whether the image of this event id was sent; SpoolError when the index must be read and can't be."""
        key = bytes.fromhex(identity)
        if key in self._known or (self._found is not None and key in self._found):
            return True
        if self._index.seen(self._context.source, identity, options=self._context.options_digest):
            self._cache(key)
            return True
        return False

    def __len__(self) -> int:
        """Return how many images are kept in memory."""
        return len(self._known) + len(self._found or ())

    @property
    def full(self) -> bool:
        """Whether as many images are present as can be remembered, so that no new one may be sent."""
        return max(self._present, self._counted) >= self._max_present

    def capture(self, identity: str, name: str, read: Callable[[], Frame | None]) -> bool:
        """Read an image that wasn't sent and pass it to the agent; return False when it changed while it was read.

        A fault of the image is counted, so that others can follow; faults of the spool and the place are raised.

        Args:
            identity: Id of its event.
            name: Name of the image, for messages.
            read: Reads the image; None when it changes meanwhile.
        """
        context, again = self._context, "; the source tries again"
        try:
            frame = read()
            if frame is None:
                return False
            outcome = capture_when_possible(context, frame)
        except ImageTooLargeError as error:
            context.drop("too_large", reason=f"{name}: {error.message}", key=identity)
            outcome = Outcome.UNUSABLE
        except (FileNotFoundError, NotFoundError):
            return True
        except (ForbiddenError, StatusError, OSError) as error:
            why = error.message if isinstance(error, EavesError) else error.strerror
            context.drop("unreadable", reason=f"{name} can't be read ({why}){again}", key=identity)
            return True
        except (SpoolError, StorageError, DeliveryError, ConfigError):
            raise
        except Exception as error:  # noqa: BLE001 - one image must not stop all others
            context.drop("failed", reason=f"{name} can't be made into an event{again}", key=identity, error=error)
            return True
        if outcome is Outcome.DROPPED:
            self.pass_over(identity)
        elif outcome is not None:
            self.add(identity)
        return True

    def add(self, identity: str) -> None:
        """Remember an image that was sent or left out: in memory, when there is room."""
        self._present += 1
        self._cache(bytes.fromhex(identity))

    def pass_over(self, identity: str) -> None:
        """Remember an image that the source's options leave out, as long as these are the same.

        The next `save` writes it to the durable memory; this method itself does so after many such images.
        """
        self.add(identity)
        self._passed_over.append(identity)
        if len(self._passed_over) >= TOUCH_BATCH:
            self.save()

    def save(self) -> None:
        """Write the images that were left out to the durable memory; after a SpoolError the next call tries again."""
        if self._passed_over:
            self._index.remember(self._context.source, self._passed_over, options=self._context.options_digest)
            self._passed_over.clear()

    def begin_scan(self) -> None:
        """Begin to record which images are present."""
        self._found = set()
        self._counted = 0
        is_due = self._context.clock.monotonic() - self._touched_at >= TOUCH_EVERY_S
        self._added = self._index.added
        self._touching = is_due or self._added - self._added_before_touch >= self._max_present // 2

    def find(self, identity: str) -> None:
        """Record that the current scan has found an image, sent or not; SpoolError when it can't be marked on disk."""
        self._counted += 1
        key = bytes.fromhex(identity)
        if key in self._known and self._found is not None:
            self._known.remove(key)
            self._found.add(key)
        if self._touching:
            self._batch.append(identity)
            if len(self._batch) >= TOUCH_BATCH:
                self._touch()

    def end_scan(self) -> None:
        """Forget the images that a complete scan did not find; SpoolError when the durable memory can't be written."""
        if self._touching:
            self._touch()
            self._index.forget(self._context.source, self._context.clock.now() - REMEMBER_S)
            self._touched_at, self._added_before_touch = self._context.clock.monotonic(), self._added
        self._known, self._found = self._found or set(), None
        self._present, self._counted = self._counted, 0

    def abort_scan(self) -> None:
        """End a scan that was not complete, and forget nothing."""
        self._known |= self._found or set()
        self._found, self._counted = None, 0
        self._batch.clear()

    def _cache(self, key: bytes) -> None:
        if len(self) < self._limit:
            (self._known if self._found is None else self._found).add(key)

    def _touch(self) -> None:
        if self._batch:
            self._index.touch(self._context.source, self._batch)
            self._batch.clear()

"""Memory of the images that were sent already; its size is bounded however many images come and go.

An image is a file of a folder or an object of a bucket, and a scan finds all that are present. The images that the last
scan found are kept in memory, up to a limit; all others are looked up on disk. The disk (the spool's index of sent
events) holds every sent image that is still present, and those that were removed recently. Once a day, the ids of the
images present are marked as still needed, and ids that have not been marked for `REMEMBER_S` are forgotten. The index
is bounded too, and drops the ids that were marked longest ago. Because other sources add ids to the same index, images
are also marked again when many ids were added since the last marking. More images than the index can hold would be sent
repeatedly, so the memory counts as full before that.
"""

from __future__ import annotations

from eaves.base.clock import Clock
from eaves.sources.context import SentIndex

KNOWN = 200_000
"""Maximum number of images kept in memory."""
REMEMBER_S = 604_800.0
"""Time for which an image that was removed is remembered, seconds: a disk may be unplugged for a week."""
TOUCH_EVERY_S = 86_400.0
"""Interval between two scans that mark the images present as still needed, seconds. Marking writes one row per
image, so once a day spares the disk and is frequent enough for `REMEMBER_S`."""
TOUCH_BATCH = 1_000
"""Maximum number of ids that are marked in one transaction, because other writers of the spool wait for it."""


class SentImages:
    """Event ids of the images that were sent. For one thread only.

    Args:
        index: Durable memory of sent events.
        source: `source` attribute of the events.
        options: Digest of the source's options that leave images out.
        limit: Maximum number of images kept in memory, about 100 bytes each; for further ones, a scan reads the index.
        max_present: Maximum number of images present; the index must hold twice as many ids.
        clock: Wall clock and monotonic clock.
    """

    def __init__(
        self,
        index: SentIndex,
        source: str,
        *,
        max_present: int,
        clock: Clock,
        options: bytes = b"",
        limit: int = KNOWN,
    ) -> None:
        self._index = index
        self._source = source
        self._options = options
        self._limit = limit
        self._max_present = max_present
        self._clock = clock
        self._known: set[bytes] = set()
        self._found: set[bytes] | None = None
        self._touching = False
        self._touched_at = float("-inf")
        self._batch: list[str] = []
        self._present = self._counted = 0
        self._added_before = self._added_before_touch = index.added
        self._passed_over: list[str] = []

    def __contains__(self, identity: str) -> bool:
        """Return whether the image of this event id was sent.

        Raises:
            SpoolError: When the record of sent images must be read from disk, and can't be.
        """
        key = bytes.fromhex(identity)
        if key in self._known or (self._found is not None and key in self._found):
            return True
        if self._index.seen(self._source, identity, options=self._options):
            self._keep(key)
            return True
        return False

    def __len__(self) -> int:
        """Return how many images are kept in memory."""
        return len(self._known) + len(self._found or ())

    @property
    def full(self) -> bool:
        """Whether as many images are present as can be remembered, so that no new one may be sent."""
        return max(self._present, self._counted) >= self._max_present

    def add(self, identity: str) -> None:
        """Remember an image that was sent or left out: in memory, when there is room."""
        self._present += 1
        self._keep(bytes.fromhex(identity))

    def pass_over(self, identity: str) -> None:
        """Remember an image that the source's options leave out, as long as these are the same.

        The next `save` writes it to the durable memory; this method itself does so after many such images.
        """
        self.add(identity)
        self._passed_over.append(identity)
        if len(self._passed_over) >= TOUCH_BATCH:
            self.save()

    def save(self) -> None:
        """Write the images that were left out to the durable memory.

        Raises:
            SpoolError: When the memory can't be written; the next call tries again.
        """
        if self._passed_over:
            self._index.remember(self._source, self._passed_over, options=self._options)
            self._passed_over.clear()

    def begin_scan(self) -> None:
        """Begin to record which images are present."""
        self._found = set()
        self._counted = 0
        due = self._clock.monotonic() - self._touched_at >= TOUCH_EVERY_S
        self._added_before = self._index.added
        # In a full index, ids that are added after a mark displace those that were marked before them.
        self._touching = due or self._added_before - self._added_before_touch >= self._max_present // 2

    def find(self, identity: str) -> None:
        """Record that the current scan has found an image, whether it was sent or not.

        Raises:
            SpoolError: When the durable memory can't be written.
        """
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
        """Forget the images that a complete scan did not find.

        Raises:
            SpoolError: When the durable memory can't be written.
        """
        if self._touching:
            self._touch()
            self._index.forget(self._source, self._clock.now() - REMEMBER_S)
            self._touched_at, self._added_before_touch = self._clock.monotonic(), self._added_before
        self._known, self._found = self._found or set(), None
        self._present, self._counted = self._counted, 0

    def abort_scan(self) -> None:
        """End a scan that was not complete, and forget nothing."""
        self._known |= self._found or set()
        self._found, self._counted = None, 0
        self._batch.clear()

    def _keep(self, key: bytes) -> None:
        if len(self) < self._limit:
            (self._known if self._found is None else self._found).add(key)

    def _touch(self) -> None:
        if self._batch:
            self._index.touch(self._source, self._batch)
            self._batch.clear()

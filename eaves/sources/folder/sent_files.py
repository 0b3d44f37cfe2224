"""Which files were sent already, in memory that is bounded however many come and go.

In memory are the files that the last scan found in the folder, up to a limit; all others are looked up on disk. On disk
(the spool's index of sent events) is every file that was sent and is still in the folder, and those that left it not
long ago: once a day the files found are marked as still needed, and what has not been marked for long is forgotten.
The index is bounded too, and drops what was marked longest ago; other sources add to it, so files are marked again
before too many ids came after them. A folder with more files than it can hold would be sent
again and again, so the folder counts as full before that.
"""

from __future__ import annotations

from eaves.base.clock import Clock
from eaves.sources.index import SentIndex

TOUCH_EVERY_S = 86_400.0
"""Seconds between two scans that mark the files found: each writes as many rows as there are files, and once a day is
seldom enough for a disk and often enough beside `remember_s`."""
TOUCH_BATCH = 1_000
"""Ids marked in one transaction: other writers of the spool wait for it."""


class SentFiles:
    """The ids of the events of files that were sent. For one thread.

    Args:
        index: The durable memory.
        source: The `source` of the events.
        limit: Most files kept in memory.
        max_present: Most files in the folder; the index must hold twice as many ids.
        remember_s: For how long a file that left the folder is remembered, seconds.
        clock: Time.
    """

    def __init__(
        self, index: SentIndex, source: str, *, limit: int, max_present: int, remember_s: float, clock: Clock
    ) -> None:
        self._index = index
        self._source = source
        self._limit = limit
        self._max_present = max_present
        self._remember_s = remember_s
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
        """Whether the file of this event id was sent.

        Raises:
            SpoolError: When the durable memory is needed and can't be read.
        """
        key = bytes.fromhex(identity)
        if key in self._known or (self._found is not None and key in self._found):
            return True
        if self._index.seen(self._source, identity):
            self._keep(key)
            return True
        return False

    def __len__(self) -> int:
        """How many files are kept in memory."""
        return len(self._known) + len(self._found or ())

    @property
    def full(self) -> bool:
        """Whether the folder holds as many files as can be remembered, so that no other may be sent."""
        return max(self._present, self._counted) >= self._max_present

    def add(self, identity: str) -> None:
        """Remember a file that was sent or passed over: in memory, if there is room."""
        self._present += 1
        self._keep(bytes.fromhex(identity))

    def pass_over(self, identity: str) -> None:
        """Remember a file that is never to be sent, in the durable memory too: at the next `save`, or after many."""
        self.add(identity)
        self._passed_over.append(identity)
        if len(self._passed_over) >= TOUCH_BATCH:
            self.save()

    def save(self) -> None:
        """Write to the durable memory which files were passed over.

        Raises:
            SpoolError: When it can't be written; the next call tries again.
        """
        if self._passed_over:
            self._index.remember(self._source, self._passed_over)
            self._passed_over.clear()

    def begin_scan(self) -> None:
        """Start to learn which files are in the folder."""
        self._found = set()
        self._counted = 0
        due = self._clock.monotonic() - self._touched_at >= TOUCH_EVERY_S
        self._added_before = self._index.added
        # Ids that are added after a mark outlive what was marked in an index that is full.
        self._touching = due or self._added_before - self._added_before_touch >= self._max_present // 2

    def find(self, identity: str) -> None:
        """Learn that a file is in the folder, sent or not.

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
        """Forget the files that the scan, which saw the whole folder, did not find.

        Raises:
            SpoolError: When the durable memory can't be written.
        """
        if self._touching:
            self._touch()
            self._index.forget(self._clock.now() - self._remember_s)
            self._touched_at, self._added_before_touch = self._clock.monotonic(), self._added_before
        self._known, self._found = self._found or set(), None
        self._present, self._counted = self._counted, 0

    def abort_scan(self) -> None:
        """Forget nothing: the scan did not see the whole folder."""
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

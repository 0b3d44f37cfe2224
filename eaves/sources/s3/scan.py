"""Listing of a bucket: whole passes, and in between passes over the keys that follow the last known ones.

The order of keys is not the order of arrival, so only a whole pass finds every new object. It takes one request for
each thousand keys. Most cameras write keys that grow with time below a folder of their own, such as
`gate/2026/11/26/131502.jpg`. Therefore the last known key of each folder directly below the prefix is kept, and what
follows it is listed more often, by one request for each folder.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import islice

from eaves.base.clock import Clock
from eaves.bucket.bucket import Bucket, StoredObject

PAGE = 1_000
"""Number of objects that one step handles, which one request lists."""
MAX_ENDS = 16
"""Maximum number of folders whose last key is followed; those that changed last are kept. It bounds the requests of a
pass over them."""
MAX_FOLDERS = 1_000
"""Number of folders at which a whole pass keeps only those that changed last."""
PAGE_PACE_S = 1.0
"""Minimum time between two whole passes for each request that a pass takes, seconds: a bucket with ten million objects
costs one request a second on average."""

Look = Callable[[StoredObject], None]
"""Looks at an object."""


class BucketScan:
    """Lists a bucket step by step. For one thread only.

    A step that fails is repeated from the object after the last one that was looked at.

    Args:
        bucket: Bucket to list.
        prefix: Text with which the keys begin.
        every_s: Interval between two passes over the folders' ends, seconds.
        full_every_s: Interval between two whole passes, seconds.
        clock: Monotonic clock.
        begin: Called when a whole pass begins.
        end: Called when a whole pass has listed every object.
        stopping: Returns whether a step must end early.
    """

    def __init__(
        self, bucket: Bucket, prefix: str, *, every_s: float, full_every_s: float, clock: Clock,
        begin: Callable[[], None], end: Callable[[], None], stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._bucket = bucket
        self._prefix = prefix
        self._every_s = every_s
        self._full_every_s = full_every_s
        self._clock = clock
        self._begin = begin
        self._end = end
        self._stopping = stopping
        self._ends: dict[str, StoredObject] = {}
        self._found_ends: dict[str, StoredObject] = {}
        self._full_at = float("-inf")
        self._ends_at = float("inf")
        self._objects: Iterator[StoredObject] | None = None
        self._cursor: str | None = None
        self._count = 0

    @property
    def next_at(self) -> float:
        """Time at which a step is due, monotonic seconds; the past when one is due now."""
        return float("-inf") if self._cursor is not None else min(self._full_at, self._ends_at)

    def step(self, look: Look) -> None:
        """List the next objects if a pass is due: of a whole pass at most a thousand.

        Raises:
            EavesError: When the bucket can't be listed, or from `look`.
        """
        now = self._clock.monotonic()
        if self._ends_at <= now:
            self._list_ends(look)
            self._ends_at = self._clock.monotonic() + self._every_s
        elif self._cursor is not None or self._full_at <= now:
            self._advance(look)

    def _advance(self, look: Look) -> None:
        if self._cursor is None:
            self._begin()
            self._cursor, self._count, self._found_ends = "", 0, {}
        if self._objects is None:
            self._objects = self._bucket.list(self._prefix, after=self._cursor)
        try:
            if self._look_at_some(self._objects, look):
                self._finish()
        except BaseException:
            self._objects = None  # a generator that has failed yields nothing more
            raise

    def _look_at_some(self, objects: Iterator[StoredObject], look: Look) -> bool:
        """Look at up to `PAGE` objects of a whole pass; return True when it has ended."""
        for _ in range(PAGE):
            found = next(objects, None)
            if found is None:
                return True
            look(found)
            self._cursor = found.key
            self._count += 1
            self._keep_end(found)
            if self._stopping():
                return False
        return False

    def _keep_end(self, found: StoredObject) -> None:
        self._found_ends[self._folder(found.key)] = found
        if len(self._found_ends) > MAX_FOLDERS:
            self._found_ends = self._newest()

    def _newest(self) -> dict[str, StoredObject]:
        return dict(heapq.nlargest(MAX_ENDS, self._found_ends.items(), key=lambda end: end[1].modified_at_ns))

    def _finish(self) -> None:
        self._end()
        self._cursor = self._objects = None
        self._ends, self._found_ends = self._newest(), {}
        requests = self._count // PAGE + 1
        now = self._clock.monotonic()
        if requests <= max(1, len(self._ends)):  # a whole pass costs no more than one over the ends
            self._full_at, self._ends_at = now + self._every_s, float("inf")
        else:
            self._full_at = now + max(self._full_every_s, requests * PAGE_PACE_S)
            self._ends_at = now + self._every_s

    def _list_ends(self, look: Look) -> None:
        """List the objects after the last known key of each folder, by one request for each."""
        for folder, end in list(self._ends.items()):
            for found in islice(self._bucket.list(folder, after=end.key), PAGE):
                look(found)
                if self._folder(found.key) == folder:
                    self._ends[folder] = found
                if self._stopping():
                    return

    def _folder(self, key: str) -> str:
        below = key[len(self._prefix) :]
        slash = below.find("/", 1)  # a prefix without a slash at its end may be followed by one
        return key[: len(self._prefix) + slash + 1] if slash >= 0 else self._prefix

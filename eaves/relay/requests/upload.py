"""Progress of a large body that is sent in parts, each as large as the link carries in two seconds."""

from __future__ import annotations

import hashlib

from eaves.link.batch import Packed
from eaves.spool import Entry

MOST_STALLS = 3
"""Number of answers in a row that report no new bytes at the receiver before the upload counts as failed."""


class Upload:
    """Upload of one body. Not thread-safe.

    The receiver says how many bytes it has, so an upload continues where it was after a cut or after either end was
    killed.

    Args:
        lane: Lane of the entry.
        entry: Entry that is sent.
        packed: Complete request.

    Attributes:
        lane: Lane of the entry.
        entry: Entry that is sent.
        packed: Complete request.
        digest: SHA-256 of the body, in hexadecimal.
        received: Number of bytes that the receiver has, as far as is known.
    """

    def __init__(self, lane: str, entry: Entry, packed: Packed) -> None:
        self.lane = lane
        self.entry = entry
        self.packed = packed
        self.digest = hashlib.sha256(packed.body).hexdigest()
        self.received = 0
        self._asked = False
        self._stalls = 0

    @property
    def size(self) -> int:
        """Size of the whole body, bytes."""
        return len(self.packed.body)

    @property
    def is_complete(self) -> bool:
        """Whether the receiver has the whole body."""
        return self.received == self.size

    @property
    def is_stuck(self) -> bool:
        """Whether the receiver answers parts repeatedly without keeping their bytes."""
        return self._stalls >= MOST_STALLS

    def next_part(self, max_bytes: int) -> memoryview:
        """Return the next part; the first one is empty and asks how many bytes the receiver already has."""
        if not self._asked:
            return memoryview(b"")
        return memoryview(self.packed.body)[self.received : self.received + max_bytes]

    def answered(self, received: int) -> None:
        """Record how many bytes the receiver has."""
        self._stalls = self._stalls + 1 if self._asked and received <= self.received else 0
        self._asked = True
        self.received = received

"""A large body on its way to the receiver in parts, each as large as the link carries in two seconds."""

from __future__ import annotations

import hashlib

from eaves.link.packing import Packed
from eaves.spool import Entry

MOST_STALLS = 3
"""Answers in a row that say that nothing has come to the receiver, until that counts as a failure."""


class Upload:
    """One body. Not safe for threads.

    The receiver says how much it has, so an upload goes on where it was, after a cut and after either end was killed.

    Args:
        lane: The class of the entry.
        entry: What is sent.
        packed: The whole request.

    Attributes:
        lane: The class of the entry.
        entry: What is sent.
        packed: The whole request.
        digest: SHA-256 of the body, in hexadecimal.
        received: How many bytes the receiver has, as far as is known.
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
        """Bytes of the whole body."""
        return len(self.packed.body)

    @property
    def is_complete(self) -> bool:
        """Whether the receiver has all of it."""
        return self.received == self.size

    @property
    def is_stuck(self) -> bool:
        """Whether parts are answered and nothing of them is kept."""
        return self._stalls >= MOST_STALLS

    def next_part(self, max_bytes: int) -> memoryview:
        """What is sent next; an empty part at first, which asks how much is there from before."""
        if not self._asked:
            return memoryview(b"")
        return memoryview(self.packed.body)[self.received : self.received + max_bytes]

    def answered(self, received: int) -> None:
        """The receiver has so many bytes."""
        self._stalls = self._stalls + 1 if self._asked and received <= self.received else 0
        self._asked = True
        self.received = received

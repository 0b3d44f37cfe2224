"""Memory for the bodies of requests: all that are read or stored at the same time share one bound.

A budget of 64 MB that takes bodies of 32 MB at most gives each owner, a site say, 32 MB, and has 8 MB more for bodies
of up to 1 MB. So neither one site nor the large bodies of all of them keep out the small ones, which most are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from eaves.errors import OverloadedError

WAIT_S = 2.0
"""How long one request waits for memory that others have, seconds."""
SHORT_S = 30.0
"""For how long after a request found no memory the budget is called short, seconds."""
OWNER_PART = 2
"""The part of the budget that one owner may have."""
RESERVE_PART, SMALL_PART = 8, 64
"""The parts of the budget that are the reserve for small bodies, beside it, and the largest body that is small."""

Take = Callable[[int], None]
"""Takes so many bytes; raises OverloadedError when they aren't free."""


class MemoryBudget:
    """A number of bytes. For many threads.

    When all are taken, the first request that needs more waits for it until it is done, and the others that need more
    are refused, which makes its room. Were all of them refused, many large requests at once would end each other, each
    time they come again.

    Args:
        max_bytes: How many may be taken at the same time; small bodies may take an eighth more.
        largest: Bytes of the largest body, which always fits into an owner's part.
        name: What the memory belongs to, for messages.
    """

    def __init__(self, max_bytes: int, *, largest: int = 0, name: str = "receiver") -> None:
        self._max_bytes = max(max_bytes, largest)
        self._with_reserve = self._max_bytes + self._max_bytes // RESERVE_PART
        self._small = self._max_bytes // SMALL_PART
        self._per_owner = max(self._max_bytes // OWNER_PART, largest)
        self._name = name
        self._taken = 0
        self._owners: dict[str, int] = {}
        self._changed = threading.Condition()
        self._waiting: dict[str, MemoryReservation] = {}
        """Who waits: for memory that everybody has, and for memory that its owner has."""
        self._short_until = 0.0

    @property
    def taken_bytes(self) -> int:
        """Bytes that are taken now."""
        return self._taken

    def is_short(self) -> bool:
        """Whether a request found no memory just now."""
        return time.monotonic() < self._short_until

    def share(self, owner: str = "") -> MemoryReservation:
        """What a request takes; all of it is free again once its block is left.

        Args:
            owner: Whose request it is; empty for nobody's, which has no part of its own.
        """
        return MemoryReservation(self, owner)

    def reserve(self, share: MemoryReservation, size: int) -> None:
        """Take bytes for a request. See `MemoryReservation`."""
        with self._changed:
            if not self._fits(share, size) and not self._wait(share, size):
                raise self._refusal(share, size)
            self._taken += size
            share.taken += size
            if share.owner:
                self._owners[share.owner] = self._owners.get(share.owner, 0) + size

    def release(self, share: MemoryReservation) -> None:
        """Free what a request has taken."""
        with self._changed:
            self._taken -= share.taken
            if share.owner:
                left = self._owners.get(share.owner, 0) - share.taken
                self._owners[share.owner] = left
                if not left:
                    del self._owners[share.owner]
            share.taken = 0
            for slot in [slot for slot, waiting in self._waiting.items() if waiting is share]:
                del self._waiting[slot]
            self._changed.notify_all()

    def _fits(self, share: MemoryReservation, size: int) -> bool:
        is_small = share.taken + size <= self._small
        bound = self._with_reserve if is_small else self._max_bytes
        return self._taken + size <= bound and self._fits_owner(share, size)

    def _fits_owner(self, share: MemoryReservation, size: int) -> bool:
        return not share.owner or self._owners.get(share.owner, 0) + size <= self._per_owner

    def _wait(self, share: MemoryReservation, size: int) -> bool:
        """Wait until so many bytes are free; whether they are. Its caller holds the lock."""
        slot = ""
        if self._fits_owner(share, size):
            self._short_until = time.monotonic() + SHORT_S
        else:
            slot = share.owner
        if self._waiting.setdefault(slot, share) is not share:
            return False
        deadline = time.monotonic() + WAIT_S
        while not self._fits(share, size):
            if not self._changed.wait(deadline - time.monotonic()):
                return False
        return True

    def _refusal(self, share: MemoryReservation, size: int) -> OverloadedError:
        if self._fits_owner(share, size):
            bound, whose = self._max_bytes, "other requests"
        else:
            bound, whose = self._per_owner, f"other requests of {share.owner}"
        return OverloadedError(
            f"the {self._name} is reading {bound / 1e6:.0f} MB of {whose}; send again later",
            hint="raise in_flight_bytes if this is frequent",
        )


class MemoryReservation:
    """What one request takes of a budget. Calling it with a size takes so many bytes.

    Attributes:
        owner: Whose request it is.
        taken: Bytes that it has; the budget's to change.
    """

    def __init__(self, budget: MemoryBudget, owner: str = "") -> None:
        self.owner = owner
        self.taken = 0
        self._budget = budget

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.release(self)

    def __call__(self, size: int) -> None:
        """Take bytes.

        Raises:
            OverloadedError: When they aren't free.
        """
        self._budget.reserve(self, size)

    def assign(self, owner: str, budget: MemoryBudget | None = None) -> None:
        """Say whose request it is, before anything is taken.

        Args:
            owner: Whose it is.
            budget: The budget that it takes from instead.
        """
        self._budget.release(self)
        self.owner = owner
        self._budget = budget or self._budget

    def is_short(self) -> bool:
        """Whether others want the memory that this one holds."""
        return self._budget.is_short()

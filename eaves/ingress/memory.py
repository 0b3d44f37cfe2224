"""Memory for the bodies of requests: all bodies that are read or stored at the same time share one limit.

A budget of 64 MB that takes bodies of up to 32 MB gives each owner, such as a site, 32 MB, and has 8 MB more for bodies
of up to 1 MB. So neither one site nor the large bodies of all sites block the small bodies, which are the majority.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Self

from eaves.errors import OverloadedError

WAIT_S = 2.0
"""Maximum time that one request waits for memory that other requests have reserved, seconds."""
OWNER_PART = 2
"""Divisor of the budget that gives the maximum number of bytes for one owner, such as a site."""
RESERVE_PART, SMALL_PART = 8, 64
"""Divisors of the budget for the additional reserve for small bodies, and for the size up to which a body is small."""


class MemoryBudget:
    """Budget of memory in bytes. Safe to use from many threads.

    When all bytes are taken, the first request that needs more waits, and the others that need more are refused, which
    frees memory for it. If all of them were refused, many large requests at once would end each other at every
    retry.

    Args:
        max_bytes: Number of bytes that may be taken at the same time; small bodies may take an eighth more.
        largest: Size of the largest body, which always fits into an owner's share, bytes.
        name: Name of the memory's owner, for messages.
    """

    def __init__(self, max_bytes: int, *, largest: int = 0, name: str = "receiver") -> None:
        self._max_bytes = max(max_bytes, largest)
        self._per_owner = max(self._max_bytes // OWNER_PART, largest)
        self._name = name
        self._changed = threading.Condition()
        self._owners: Counter[str] = Counter()
        self._waiting: MemoryReservation | None = None

    @property
    def taken_bytes(self) -> int:
        """Number of bytes that are taken now."""
        with self._changed:
            return self._owners.total()

    def share(self, owner: str = "") -> MemoryReservation:
        """Return a request's reservation; its bytes are free again after its block.

        Args:
            owner: Owner of the request; empty for a request without an owner's share.
        """
        return MemoryReservation(self, owner)

    def reserve(self, share: MemoryReservation, size: int) -> None:
        """Reserve `size` more bytes for the request of a reservation; see `MemoryReservation`."""
        with self._changed:
            if not self._fits(share, size):
                self._waiting = self._waiting or share
                if self._waiting is not share or not self._changed.wait_for(lambda: self._fits(share, size), WAIT_S):
                    whose = "" if self._fits_owner(share, size) else f" from {share.owner}"
                    bound = self._per_owner if whose else self._max_bytes
                    raise OverloadedError(
                        f"the {self._name} has reached its limit: {bound / 1e6:.0f} MB of other requests{whose} are in "
                        "memory; send again later",
                        hint="raise in_flight_bytes if this happens often",
                    )
            self._owners[share.owner] += size
            share.taken += size

    def release(self, share: MemoryReservation) -> None:
        """Free the bytes of a request."""
        with self._changed:
            self._owners[share.owner] -= share.taken
            if not self._owners[share.owner]:
                del self._owners[share.owner]
            share.taken = 0
            if self._waiting is share:
                self._waiting = None
            self._changed.notify_all()

    def _fits(self, share: MemoryReservation, size: int) -> bool:
        is_small = share.taken + size <= self._max_bytes // SMALL_PART
        bound = self._max_bytes + (self._max_bytes // RESERVE_PART if is_small else 0)
        return self._owners.total() + size <= bound and self._fits_owner(share, size)

    def _fits_owner(self, share: MemoryReservation, size: int) -> bool:
        return not share.owner or self._owners[share.owner] + size <= self._per_owner


class MemoryReservation:
    """Bytes that one request takes from a budget. Calling it with a size reserves so many bytes.

    Attributes:
        owner: Owner of the request.
        taken: Number of reserved bytes; changed by the budget only.
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
        """Reserve bytes.

        Raises:
            OverloadedError: When the bytes aren't available.
        """
        self._budget.reserve(self, size)

    def assign(self, owner: str, budget: MemoryBudget | None = None) -> None:
        """Assign the request to an owner, and to a budget unless that is None, before any bytes are reserved."""
        self._budget.release(self)
        self.owner = owner
        self._budget = budget or self._budget

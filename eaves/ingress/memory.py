"""Memory for the bodies of requests: all bodies that are read or stored at the same time share one limit.

A budget of 64 MB that takes bodies of up to 32 MB gives each owner, such as a site, 32 MB, and has 8 MB more for bodies
of up to 1 MB. So neither one site nor the large bodies of all sites block the small bodies, which are the majority.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from eaves.errors import OverloadedError

WAIT_S = 2.0
"""Maximum time that one request waits for memory that other requests have reserved, seconds."""
SHORT_S = 30.0
"""Time after a request found no memory during which the budget counts as short, seconds."""
OWNER_PART = 2
"""Divisor of the budget that gives the maximum number of bytes for one owner, such as a site."""
RESERVE_PART, SMALL_PART = 8, 64
"""Divisors of the budget for the additional reserve for small bodies, and for the size up to which a body is small."""

Take = Callable[[int], None]
"""Function that reserves a number of bytes; it raises OverloadedError when they aren't available."""


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
        self._with_reserve = self._max_bytes + self._max_bytes // RESERVE_PART
        self._small = self._max_bytes // SMALL_PART
        self._per_owner = max(self._max_bytes // OWNER_PART, largest)
        self._name = name
        self._taken = 0
        self._owners: dict[str, int] = {}
        self._changed = threading.Condition()
        self._waiting: dict[str, MemoryReservation] = {}
        """Waiting requests: one under the empty name for memory that all share, and one per owner for its share."""
        self._short_until = 0.0

    @property
    def taken_bytes(self) -> int:
        """Number of bytes that are taken now."""
        return self._taken

    def is_short(self) -> bool:
        """Return whether a request found no memory recently."""
        return time.monotonic() < self._short_until

    def share(self, owner: str = "") -> MemoryReservation:
        """Return a request's reservation; its bytes are free again after its block.

        Args:
            owner: Owner of the request; empty for a request without an owner's share.
        """
        return MemoryReservation(self, owner)

    def reserve(self, share: MemoryReservation, size: int) -> None:
        """Reserve `size` more bytes for the request of a reservation; see `MemoryReservation`."""
        with self._changed:
            if not self._fits(share, size) and not self._wait(share, size):
                raise self._refusal(share, size)
            self._taken += size
            share.taken += size
            if share.owner:
                self._owners[share.owner] = self._owners.get(share.owner, 0) + size

    def release(self, share: MemoryReservation) -> None:
        """Free the bytes of a request."""
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
        """Wait until `size` bytes are free; return False on timeout, or at once when another request waits.

        The caller holds the lock.
        """
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
            bound, whose = self._per_owner, f"other requests from {share.owner}"
        return OverloadedError(
            f"the {self._name} has reached its limit: {bound / 1e6:.0f} MB of {whose} are in memory; send again later",
            hint="raise in_flight_bytes if this happens often",
        )


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
        """Assign the request to an owner, before any bytes are reserved.

        Args:
            owner: Owner of the request.
            budget: Budget to use instead of the current one; None to keep it.
        """
        self._budget.release(self)
        self.owner = owner
        self._budget = budget or self._budget

    def is_short(self) -> bool:
        """Return whether a request recently found no free memory in this reservation's budget."""
        return self._budget.is_short()

"""Whether the volume of a spool is large enough."""

from __future__ import annotations

import math

from eaves.platform.quantities import GI, QUEUED_PER_GI, parse_quantity
from knative.resources.fields.quantities import show_memory


def find_size_fault(volume: str, largest: int, attributes: int, what: str) -> str:
    """What is wrong with the size of a volume; empty when the largest event fits into the spool on it.

    Args:
        volume: Size of the volume, a quantity.
        largest: Bytes of the largest event's data.
        attributes: Room that the spool needs beside them.
        what: What the events are, `images`.
    """
    needed = largest + attributes
    if (parse_quantity(volume) or 0.0) / GI * QUEUED_PER_GI >= needed:
        return ""
    least = show_memory(math.ceil(needed / QUEUED_PER_GI * 1024) * 2**20)
    return f"must be at least {least}, for {what} of {largest} bytes (got {volume!r})"

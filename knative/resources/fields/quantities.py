"""Kubernetes quantities such as `250m` of a CPU or `1Gi` of memory, and a check of the size of a spool's volume."""

from __future__ import annotations

import math

from eaves.platform.quantities import GI, QUEUED_PER_GI, SUFFIXES, parse_quantity


def show_cpu(processors: float) -> str:
    """Format a number of CPUs as a Kubernetes quantity, such as `250m` or `4`."""
    return f"{processors:g}" if processors == int(processors) else f"{round(processors * 1000)}m"


def show_memory(size_bytes: float) -> str:
    """Format a number of bytes as a Kubernetes quantity.

    The unit is the largest binary one that gives a whole number, or else Mi.
    """
    for suffix in ("Gi", "Mi", "Ki"):
        amount = size_bytes / SUFFIXES[suffix]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{suffix}"
    return f"{round(size_bytes / SUFFIXES['Mi'])}Mi"


def find_size_fault(volume: str, largest: int, attributes: int, what: str) -> str:
    """Return why a volume is too small for a spool; empty when the largest event fits into the spool on it.

    Args:
        volume: Size of the volume, a quantity.
        largest: Size of the largest event's data in bytes.
        attributes: Bytes that the spool needs besides the data.
        what: Name of the events in the message, such as `images`.
    """
    needed = largest + attributes
    if (parse_quantity(volume) or 0.0) / GI * QUEUED_PER_GI >= needed:
        return ""
    least = show_memory(math.ceil(needed / QUEUED_PER_GI * 1024) * 2**20)
    return f"must be at least {least}, for {what} of {largest} bytes (got {volume!r})"

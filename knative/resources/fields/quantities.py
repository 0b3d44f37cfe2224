"""Kubernetes quantities, `250m` of a processor or `1Gi` of memory, as people write them."""

from __future__ import annotations

from eaves.platform.quantities import SUFFIXES


def show_cpu(processors: float) -> str:
    """As people write it: `250m`, `4`."""
    return f"{processors:g}" if processors == int(processors) else f"{round(processors * 1000)}m"


def show_memory(size_bytes: float) -> str:
    """In the largest binary unit that leaves a whole number, or in Mi."""
    for suffix in ("Gi", "Mi", "Ki"):
        amount = size_bytes / SUFFIXES[suffix]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{suffix}"
    return f"{round(size_bytes / SUFFIXES['Mi'])}Mi"

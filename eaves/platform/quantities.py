"""Sizes in Kubernetes' notation, such as `2Gi`, and how much of a disk of that size a queue may use."""

from __future__ import annotations

import re

QUANTITY_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
"""Accepted quantities. Source: Kubernetes, apimachinery/pkg/api/resource, Quantity; without exponents and rare
suffixes."""
QUEUED_PER_GI, DEAD_PER_GI = 500_000_000, 100_000_000
"""Bytes per Gi of disk for waiting events and for dead letters: the defaults of the agent (2Gi) and of the publisher
(1Gi). The rest is for SQLite's log, its index and the free space within its pages."""
GI = 2**30
SUFFIXES = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")


def parse_quantity(text: object) -> float | None:
    """Parse a quantity into processors or bytes; None when it is not one. YAML may give a plain number.

    Source: Kubernetes, apimachinery/pkg/api/resource/quantity.go.
    """
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None:
        return None
    number, exponent, suffix = found.groups()
    return float(number) * (10.0 ** int(exponent) if exponent else SUFFIXES[suffix or ""])


def find_room(disk: str) -> dict[str, str]:
    """Return the settings that limit the size of a spool so that it fits on a disk.

    Args:
        disk: Size of the disk, a quantity.
    """
    size = (parse_quantity(disk) or 0.0) / GI
    return {
        "spool_max_bytes": str(int(QUEUED_PER_GI * size)),
        "spool_dead_max_bytes": str(int(DEAD_PER_GI * size)),
    }

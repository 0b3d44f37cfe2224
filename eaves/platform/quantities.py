"""Sizes in Kubernetes' notation, such as `2Gi`, and how much of a disk of that size a queue may use."""

from __future__ import annotations

import re

from eaves.base.names import TextForm

QUANTITY_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
"""Accepted quantities. Source: Kubernetes, apimachinery/pkg/api/resource, Quantity; without exponents and rare
suffixes."""
QUANTITY = TextForm(QUANTITY_PATTERN, "a quantity such as 2Gi")
QUANTITY_OR_NONE = TextForm(re.compile(f"({QUANTITY_PATTERN.pattern})?"), QUANTITY.description)
QUEUED_PER_GI, DEAD_PER_GI = 500_000_000, 100_000_000
"""Bytes per Gi of disk for waiting events and for dead letters: the defaults of the agent (2Gi) and of the publisher
(1Gi). The rest is for SQLite's log, its index and the free space within its pages."""
_BYTES = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def find_room(disk: str) -> dict[str, str]:
    """Return the settings that limit the size of a spool so that it fits on a disk.

    Args:
        disk: Size of the disk, a quantity that `QUANTITY_PATTERN` matches.
    """
    size = parse_quantity(disk) / _BYTES["Gi"]
    return {
        "spool_max_bytes": str(int(QUEUED_PER_GI * size)),
        "spool_dead_max_bytes": str(int(DEAD_PER_GI * size)),
    }


def parse_quantity(text: str) -> float:
    """Return the number of bytes that a quantity stands for."""
    number = text.rstrip("kMGTim")
    return float(number) * _BYTES.get(text.removeprefix(number), 1)

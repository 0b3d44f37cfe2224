"""Kubernetes quantities: `250m` of a processor, `1Gi` of memory, as numbers and back.

Source: Kubernetes, apimachinery/pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re

_SUFFIXES = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")


def parse_quantity(text: object) -> float | None:
    """Processors or bytes; None when it is no quantity. YAML may give a plain number."""
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None:
        return None
    number, exponent, suffix = found.groups()
    return float(number) * (10.0 ** int(exponent) if exponent else _SUFFIXES[suffix or ""])


def show_cpu(processors: float) -> str:
    """As people write it: `250m`, `4`."""
    return f"{processors:g}" if processors == int(processors) else f"{round(processors * 1000)}m"


def show_memory(size_bytes: float) -> str:
    """In the largest binary unit that leaves a whole number, or in Mi."""
    for suffix in ("Gi", "Mi", "Ki"):
        amount = size_bytes / _SUFFIXES[suffix]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{suffix}"
    return f"{round(size_bytes / _SUFFIXES['Mi'])}Mi"

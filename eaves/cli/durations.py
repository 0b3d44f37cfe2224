"""Lengths of time in words."""

from __future__ import annotations

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def describe_age(seconds: float | None) -> str:
    """A length of time in its largest unit: `45 s`, `3 min`, `5 h`, `12 d`; empty for None."""
    if seconds is None:
        return ""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

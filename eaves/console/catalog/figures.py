"""Figures as words: shares with the number of images and the interval, differences, and times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from eaves.base.statistics import round_outward, wilson
from eaves.console.model.words import count_noun


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of images, with its evidence.

    Attributes:
        right: Number of images that count.
        images: Number of all images.
        ends: 95 % confidence interval, if the images are not independent; None computes it from the numbers.
    """

    right: int
    images: int
    ends: tuple[float, float] | None = None

    @property
    def value(self) -> float | None:
        """The share, 0 to 1; None without images."""
        return self.right / self.images if self.images else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the share."""
        return self.ends or wilson(self.right, self.images)

    @property
    def percent(self) -> str:
        """The share as text."""
        return "not known" if self.value is None else format_percent(self.value)

    @property
    def evidence(self) -> str:
        """Number of images and interval as text."""
        if not self.images:
            return "no image"
        low, high = round_outward(self.interval, 3)
        return (
            f"{self.right:,} of {count_noun(self.images, 'image')}, 95% interval {format_percent(low)} to "
            f"{format_percent(high)}"
        )


def format_percent(share: float) -> str:
    """Return a share as a percentage; a share between 0 and 1 is never rounded to 0 or 100."""
    if 0 < share < 1:
        share = min(max(share, 0.001), 0.999)
    return f"{share * 100:.1f}%"


def format_points(difference: float) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    rounded = round(difference * 100, 1) or 0.0  # no sign before zero
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}").replace("+0.0", "0.0") + " points"


def format_interval(low: float, high: float) -> str:
    """Return the interval of a difference in percentage points."""
    low, high = round_outward((low, high), 3)
    return f"{format_points(low).removesuffix(' points')} to {format_points(high)}"


def parse_time(text: object) -> float | None:
    """Return an ISO 8601 time as Unix seconds; None when it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None

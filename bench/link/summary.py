"""Summary of a run's records: percentiles, shares, bytes, and the edge's median with the link up and down."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WITHIN_S = 1.0
DRAWS = 2000
DISTURBED_S = 10.0
"""Seconds after a kill in which a photo may wait for a backlog from before it."""
DISTURB = ("agent", "function")
"""Roles that a prediction at the edge passes through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Outcome of one photo.

    Attributes:
        name: Name of its file.
        at_s: Time when it was complete in the directory, seconds since the first photo.
        size_bytes: Size of its file, bytes.
        state: State of the link at that time.
        predicted_s: Seconds from then until its prediction was durable at the edge; None: never.
        in_cloud_s: Seconds until its prediction was durable in the cloud, if the arm sends it there; None: never.
    """

    name: str
    at_s: float
    size_bytes: int
    state: str
    predicted_s: float | None
    in_cloud_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Summary of one arm on one link.

    Attributes:
        images: Number of photos taken.
        lost: Number of photos whose prediction didn't reach its destination: the cloud for the edge arm, the edge for
            the cloud-only arm.
        repeated: Number of predictions that arrived again.
        p50_s: Time within which half of all predictions reached the edge after capture, seconds; photos without one
            count as infinitely long.
        p95_s: The same time for 95 % of them.
        p99_s: The same time for 99 % of them.
        within: Share of photos that were predicted within `WITHIN_S`.
        bytes_per_1000: Bytes over the link, both directions, for 1,000 photos.
        drain_s: Seconds from the last photo until no prediction was missing; None when some are missing.
    """

    images: int
    lost: int
    repeated: int
    p50_s: float
    p95_s: float
    p99_s: float
    within: float
    bytes_per_1000: float
    drain_s: float | None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values doesn't exceed (nearest rank); NaN for none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered), -int(-share * len(ordered) // 1)) - 1)]


def load_images(records: Sequence[Mapping[str, Any]]) -> list[Image]:
    """Load the images of a result file."""
    return [Image(**record) for record in records]


def summarise(arm: Mapping[str, Any]) -> Row:
    """Return the summary of one arm of a result file."""
    images = load_images(arm["images"])
    times = [float("inf") if one.predicted_s is None else one.predicted_s for one in images]
    return Row(
        images=len(images),
        lost=arm["lost"],
        repeated=arm["repeated"],
        p50_s=percentile(times, 0.5),
        p95_s=percentile(times, 0.95),
        p99_s=percentile(times, 0.99),
        within=sum(time <= WITHIN_S for time in times) / max(1, len(times)),
        bytes_per_1000=(arm["bytes_up"] + arm["bytes_down"]) / max(1, len(images)) * 1000,
        drain_s=arm["drain_s"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Effect of a kill on the predictions of one arm.

    Attributes:
        role: Role of the killed process.
        back_s: Seconds from the kill to the next prediction; None when there was none.
        late: Number of photos that took longer than `WITHIN_S`, were taken before the kill or within `DISTURBED_S`
            after it, and had no later kill.
    """

    role: str
    back_s: float | None
    late: int


def find_outages(images: Sequence[Image], kills: Sequence[tuple[float, str]]) -> list[Outage]:
    """Return the effect of each kill.

    Args:
        images: Photos of one arm.
        kills: Seconds from the first photo, and the role.
    """
    ends = sorted(one.at_s + one.predicted_s for one in images if one.predicted_s is not None)
    late = Counter(_last_touching(one, [at for at, _ in kills]) for one in images if _is_late(one))
    found = []
    for at, role in kills:
        following = next((end for end in ends if end > at), None)
        found.append(Outage(role=role, back_s=None if following is None else following - at, late=late[at]))
    return found


def find_undisturbed(images: Sequence[Image], kills: Sequence[tuple[float, str]]) -> list[Image]:
    """Return the photos that no kill of a role in `DISTURB` delayed."""
    moments = [at for at, role in kills if role in DISTURB]
    return [one for one in images if not any(_touches(one, at) for at in moments)]


def _is_late(image: Image) -> bool:
    return image.predicted_s is None or image.predicted_s > WITHIN_S


def _last_touching(image: Image, moments: Sequence[float]) -> float | None:
    return max((at for at in moments if _touches(image, at)), default=None)


def _touches(image: Image, at: float) -> bool:
    end = float("inf") if image.predicted_s is None else image.at_s + image.predicted_s
    return image.at_s - DISTURBED_S <= at <= end


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The edge's median with the link away, as a ratio to its median with the link up.

    Attributes:
        up_s: Median with the link up, seconds.
        away_s: Median with the link down or silent, seconds.
        ratio: The second divided by the first.
        low: Lower end of the ratio's 95 % interval by the bootstrap.
        high: Upper end of that interval.
        up: Number of images with the link up.
        away: Number of images with the link away.
    """

    up_s: float
    away_s: float
    ratio: float
    low: float
    high: float
    up: int
    away: int


def compare_states(images: Sequence[Image], *, seed: int = 0) -> Ratio | None:
    """Return how much the link's absence costs the edge; None for a link that was always up.

    Source of the interval: percentile bootstrap, 2,000 draws.
    """
    up = [one.predicted_s for one in images if one.state == "up" and one.predicted_s is not None]
    away = [one.predicted_s for one in images if one.state != "up" and one.predicted_s is not None]
    if not up or not away:
        return None
    draw = random.Random(seed)
    ratios = sorted(
        percentile(draw.choices(away, k=len(away)), 0.5) / percentile(draw.choices(up, k=len(up)), 0.5)
        for _ in range(DRAWS)
    )
    up_s, away_s = percentile(up, 0.5), percentile(away, 0.5)
    return Ratio(
        up_s=up_s,
        away_s=away_s,
        ratio=away_s / up_s,
        low=ratios[int(0.025 * DRAWS)],
        high=ratios[int(0.975 * DRAWS) - 1],
        up=len(up),
        away=len(away),
    )

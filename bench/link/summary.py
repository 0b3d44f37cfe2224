"""Summarises a measurement: percentiles of the prediction times, shares, bytes, and the effect of the link."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WITHIN_S = 1.0
DRAWS = 2000
DISTURBED_S = 10.0
"""Seconds after a kill during which a photo counts as possibly delayed by it, because it may wait for photos that were
taken before."""
DISTURB = ("agent", "function")
"""Roles of the processes that must run for a prediction at the edge; killing another process doesn't delay it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Measurements of one photo.

    Attributes:
        name: File name of the photo.
        at_s: Time when the photo was complete in the directory, seconds since the start of the measurement.
        size_bytes: Size of the photo's file, bytes.
        state: State of the link when the photo was complete.
        predicted_s: Seconds from then until the photo's prediction was stored on disk at the edge; None: never.
        in_cloud_s: Seconds from then until the prediction was stored on disk in the cloud; None: never, or the setup
            doesn't send it there.
    """

    name: str
    at_s: float
    size_bytes: int
    state: str
    predicted_s: float | None
    in_cloud_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Summary of one setup (edge or cloud-only) on one link.

    Attributes:
        images: Number of photos taken.
        lost: Number of photos whose prediction didn't reach its destination: the cloud in the edge setup, the edge in
            the cloud-only setup.
        repeated: Number of repeated arrivals of predictions.
        p50_s: Seconds from a photo within which half of all photos had their prediction at the edge; a photo without a
            prediction counts as infinitely long.
        p95_s: Seconds from a photo within which 95 % of all photos had their prediction at the edge.
        p99_s: Seconds from a photo within which 99 % of all photos had their prediction at the edge.
        within: Share of photos that were predicted within `WITHIN_S` seconds.
        bytes_per_1000: Bytes over the link in both directions, per 1,000 photos.
        drain_s: Seconds from the last photo until all predictions had arrived; None when some never arrived.
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
    """Return the smallest value that at least this share of the values doesn't exceed (nearest rank).

    Return NaN if there are no values.
    """
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered), -int(-share * len(ordered) // 1)) - 1)]


def summarise(arm: Mapping[str, Any]) -> Row:
    """Return the summary of one setup, whose part of a result file is given."""
    images = [Image(**one) for one in arm["images"]]
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
    """Effect of killing a process once on the predictions of one setup.

    Attributes:
        role: Role of the killed process.
        back_s: Seconds from the kill to the next prediction; None when no prediction followed.
        late: Number of photos that this kill delayed. The prediction of such a photo took longer than `WITHIN_S`
            seconds, and the photo was waiting at the kill or was taken within `DISTURBED_S` seconds after it. A photo
            that several kills could have delayed counts for the last of these kills.
    """

    role: str
    back_s: float | None
    late: int


def find_outages(images: Sequence[Image], kills: Sequence[tuple[float, str]]) -> list[Outage]:
    """Return the effect of each kill of a process on the predictions of one setup.

    Args:
        images: Measurements of the photos in that setup.
        kills: Time of each kill in seconds from the start of the measurement, and the role of the killed process.
    """
    ends = sorted(one.at_s + one.predicted_s for one in images if one.predicted_s is not None)
    late = Counter(_last_touching(one, [at for at, _ in kills]) for one in images if _is_late(one))
    found = []
    for at, role in kills:
        following = next((end for end in ends if end > at), None)
        found.append(Outage(role=role, back_s=None if following is None else following - at, late=late[at]))
    return found


def find_undisturbed(images: Sequence[Image], kills: Sequence[tuple[float, str]]) -> list[Image]:
    """Return the photos that can't have been delayed by a kill of a process with a role in `DISTURB`."""
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
    """Comparison of the prediction times at the edge while the link is down or silent with those while it is up.

    Attributes:
        up_s: Median seconds of a prediction while the link is up.
        away_s: Median seconds of a prediction while the link is down or silent.
        ratio: `away_s` divided by `up_s`.
        low: Lower end of the ratio's 95 % interval, computed by the bootstrap method.
        high: Upper end of the ratio's 95 % interval.
        up: Number of photos that were taken while the link was up.
        away: Number of photos that were taken while the link was down or silent.
    """

    up_s: float
    away_s: float
    ratio: float
    low: float
    high: float
    up: int
    away: int


def compare_states(images: Sequence[Image], *, seed: int = 0) -> Ratio | None:
    """Return how much longer predictions at the edge take while the link is down or silent than while it is up.

    Return None if the link was never down or never up. The interval is computed by the percentile bootstrap with 2,000
    draws.
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

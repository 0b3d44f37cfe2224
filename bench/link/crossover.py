"""Compares the edge setup with the cloud-only setup for different bandwidths and photo sizes.

The result has the measured times, and the times that `bench.link.transfer` computes, so that these can be checked.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from bench.link.arms import Arm
from bench.link.network import Network
from bench.link.parts.slow_cpu import slowed
from bench.link.proxy import Link
from bench.link.run import READ, open_arms
from bench.link.transfer import transfer_s

DELAY_MS = 50.0
BANDWIDTHS = (0.5, 1.0, 2.0, 5.0, 20.0, 100.0)
SIZES = (50_000, 250_000, 1_000_000, 4_000_000)
ROUNDS = 6
LONGEST_S = 12.0
"""Maximum computed transfer time of a photo, seconds. Photo sizes that need longer on a link are not measured on it."""
WAIT_S = 90.0
SHARE = 0.1
"""Share of one CPU that the function may use in the measurement of a slow edge device."""
SLOW_EVERY_S = 4.0


def run(artifact: Path, photo: bytes, folder: Path, say: Callable[[str], None], *, kind: str = "") -> dict[str, Any]:
    """Measure the edge setup and the cloud-only setup for all bandwidths and photo sizes, and return the result.

    Args:
        artifact: Directory of the artifact that predicts.
        photo: Photo that is resized to each of the photo sizes.
        folder: Directory of all files; it is emptied first.
        say: Called with progress messages.
        kind: Kind of the network, `packets` or `proxy`; empty: packets if this user may create them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    began = time.gmtime()
    photos = {size: resize(photo, size) for size in SIZES}
    points: list[dict[str, Any]] = []
    with open_arms(folder, artifact, [photo], seed=0, kind=kind) as arms:
        for mbit_s in BANDWIDTHS:
            link = Link(delay_ms=DELAY_MS, mbit_s=mbit_s)
            for arm in arms.values():
                arm.network.set_link(link)
            for size, body in photos.items():
                expected_s = transfer_s(len(body), mbit_s, link.round_trip_s)
                if expected_s > LONGEST_S:
                    continue
                found = _measure(arms, f"{mbit_s:g}-{size}", body, max(1.0, 1.5 * expected_s))
                point = {"mbit_s": mbit_s, "size_bytes": len(body), "expected_s": round(expected_s, 3), **found}
                points.append(point)
                say(f"{mbit_s:g} Mbit/s, {len(body)} bytes: {found}")
        slow = _measure_slow(arms["edge"], photos)
        say(f"with {SHARE:g} of a processor: {slow}")
        network: Network = arms["edge"].network
        return {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", began),
            "load": [round(one, 1) for one in os.getloadavg()],
            "delay_ms": DELAY_MS,
            "kind": network.kind,
            "points": points,
            "slow": slow,
            "link": asdict(Link(delay_ms=DELAY_MS)),
        }


def _measure(arms: Mapping[str, Arm], name: str, body: bytes, every_s: float) -> dict[str, float | None]:
    """Return the median time in seconds from a photo to its prediction at the edge, for each setup.

    Photos with the content `body` are taken every `every_s` seconds; `name` is the prefix of their file names.
    """
    taken: dict[str, list[str]] = {arm: [] for arm in arms}
    for number in range(ROUNDS):
        start = time.monotonic()
        for arm in arms.values():
            taken[arm.name].append(arm.camera.take(f"{name}-{number}", body))
            time.sleep(0.4)
        time.sleep(max(0.0, start + every_s - time.monotonic()))
    deadline = time.monotonic() + WAIT_S
    found = {arm.name: READ[arm.name](arm).at_edge for arm in arms.values()}
    while time.monotonic() < deadline and any(set(taken[name]) - set(found[name]) for name in arms):
        time.sleep(0.5)
        found = {arm.name: READ[arm.name](arm).at_edge for arm in arms.values()}
    return {f"{arm.name}_s": _median(arm, taken[arm.name], found[arm.name]) for arm in arms.values()}


def _measure_slow(edge: Arm, photos: Mapping[int, bytes]) -> list[tuple[int, float]]:
    """Return the median time of a prediction at the edge for each photo size, with a function that is slowed down.

    Each pair has the size in bytes and the seconds. The list is empty without root rights, because only root can limit
    the CPU.
    """
    found: list[tuple[int, float]] = []
    process = edge.parts["function"].process
    assert process is not None
    with slowed(process.pid, SHARE) as able:
        for size, body in photos.items() if able else ():
            seconds = _measure({"edge": edge}, f"slow-{size}", body, SLOW_EVERY_S)["edge_s"]
            if seconds is not None:
                found.append((len(body), seconds))
    return found


def _median(arm: Arm, names: Sequence[str], found: Mapping[str, float]) -> float | None:
    if not set(names) <= set(found):
        return None
    return round(statistics.median(found[name] - arm.camera.taken[name] for name in names), 4)


def resize(photo: bytes, size_bytes: int) -> bytes:
    """Return the photo with about this many bytes: with more or fewer pixels, and with sensor noise."""
    picture = Image.open(io.BytesIO(photo)).convert("RGB")
    low, high, best = 0.05, 12.0, photo
    for _ in range(10):
        scale = (low * high) ** 0.5
        size = max(32, int(picture.width * scale)), max(32, int(picture.height * scale))
        noise = Image.effect_noise(size, 40).convert("RGB")
        stream = io.BytesIO()
        Image.blend(picture.resize(size, Image.Resampling.BICUBIC), noise, 0.2).save(stream, "JPEG", quality=90)
        best = stream.getvalue()
        low, high = (scale, high) if len(best) < size_bytes else (low, scale)
    return best

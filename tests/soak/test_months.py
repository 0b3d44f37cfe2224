"""Thirty days and a million images, or ten thousand and ten days: nothing is lost, and nothing grows."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from eaves.spool import SpoolLimits
from eaves.spool.limits import DAY_S
from tests.soak.measure import Sample, slope, take_sample
from tests.soak.world import World

MB = 1 << 20
RAM_DISK = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What may be held.

    Attributes:
        limits: Limits of the spool.
        history_bytes: Limit of the history in bytes.
        files_bytes: Most that each file may have.
        slope_bytes: Most growth of memory for each 100,000 images.
    """

    limits: SpoolLimits
    history_bytes: int
    files_bytes: dict[str, int]
    slope_bytes: float


SHORT = Bounds(
    limits=SpoolLimits(dead_max_bytes=2_000, dead_max_age_s=3 * DAY_S, seen_max_entries=1_000),
    history_bytes=600_000,
    files_bytes={"spool.db": 1 * MB, "spool.db-wal": 6 * MB, "history.db": 700_000},
    slope_bytes=50 * MB,
)
LONG = Bounds(
    limits=SpoolLimits(dead_max_bytes=100_000, dead_max_age_s=7 * DAY_S, seen_max_entries=100_000),
    history_bytes=8 * MB,
    files_bytes={"spool.db": 40 * MB, "spool.db-wal": 70 * MB, "history.db": 10 * MB},
    slope_bytes=1 * MB,
)
UNBOUNDED = SpoolLimits(dead_max_bytes=1 << 40, dead_max_age_s=1e12, seen_max_entries=1 << 40)


@pytest.fixture
def ram_disk() -> Iterator[Path]:
    """A folder in memory where there is one, as the numbers of commits are no matter of disks here."""
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """pytest keeps every record, and would grow."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def soak(world: World) -> list[Sample]:
    """Let a world run to its end, and see that every image came to one."""
    samples: list[Sample] = []
    with world.running():
        world.run(lambda images: samples.append(take_sample(images, world.files, world.spool)))
        assert world.arrived.missing(world.images) == []
        assert world.arrived.twice == 0
        held = sum(dead for _, dead in world.spool.counts().values())
        refused = sum(byte.bit_count() for byte in world.arrived.refused)
        assert held + world.spool.expired() == refused
        assert world.launcher.count > world.steps / 2, "the function that can't start is tried all the time"
        assert world.activator.state()[0] == "failed"
    return samples


def find_growth(samples: list[Sample], bounds: Bounds) -> dict[str, str]:
    """What is beyond its bound, with how much. The first half is warming up: caches fill, ids reach their age."""
    steady = [sample for sample in samples if sample.images >= samples[-1].images / 2]
    found = {}
    grown = slope(steady, [sample.memory_bytes for sample in steady])
    if grown > bounds.slope_bytes:
        found["memory"] = f"{grown / MB:.1f} MB for each 100,000 images"
    held: dict[str, tuple[list[int], int]] = {
        name: ([sample.files_bytes.get(name, 0) for sample in steady], limit)
        for name, limit in bounds.files_bytes.items()
    }
    held["remembered ids"] = [sample.remembered for sample in steady], bounds.limits.seen_max_entries
    held["dead letters"] = [sample.dead_bytes for sample in steady], bounds.limits.dead_max_bytes
    held["open files"] = [sample.open_files for sample in steady], steady[0].open_files + 3
    held["threads"] = [sample.threads for sample in steady], steady[0].threads
    return found | {name: f"{max(values)} > {limit}" for name, (values, limit) in held.items() if max(values) > limit}


def build(root: Path, images: int, days: float, steps: int, bounds: Bounds) -> World:
    limits, history_bytes = bounds.limits, bounds.history_bytes
    return World(root, images=images, days=days, steps=steps, limits=limits, history_bytes=history_bytes)


@pytest.mark.timeout(300)
def test_ten_days_and_ten_thousand_images(ram_disk: Path) -> None:
    assert find_growth(soak(build(ram_disk, 10_000, 10, 400, SHORT)), SHORT) == {}


@pytest.mark.slow  # it shows that the short test above can fail
@pytest.mark.timeout(300)
def test_without_bounds_it_fails(ram_disk: Path) -> None:
    """A test that can't fail proves nothing."""
    free = Bounds(limits=UNBOUNDED, history_bytes=1 << 40, files_bytes={}, slope_bytes=0)
    found = find_growth(soak(build(ram_disk, 5_000, 5, 100, free)), SHORT)
    assert {"remembered ids", "dead letters", "history.db"} <= found.keys()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_days_and_a_million_images(ram_disk: Path, tmp_path: Path) -> None:
    samples = soak(build(ram_disk, 1_000_000, 30, 8_640, LONG))
    (tmp_path / "samples.txt").write_text("\n".join(map(str, samples)))
    assert find_growth(samples, LONG) == {}

"""Thirty days and a million images, or five thousand and ten days: nothing is lost, and nothing grows."""

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


@pytest.mark.long("ten days pass, or thirty")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("images", "days", "steps", "bounds"),
    [(5_000, 10, 200, SHORT), pytest.param(1_000_000, 30, 8_640, LONG, marks=pytest.mark.slow)],
    ids=["ten days", "thirty days"],
)
def test_nothing_is_lost_and_nothing_grows(ram_disk: Path, images: int, days: int, steps: int, bounds: Bounds):
    world = World(
        ram_disk, images=images, days=days, steps=steps, limits=bounds.limits, history_bytes=bounds.history_bytes
    )
    samples = soak(world)
    assert find_growth(samples, bounds) == {}, samples

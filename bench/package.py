"""Benchmark of a container image's size, and of the cost of pushing a model with a new head to a real registry.

A proxy in front of the registry counts the bytes that are sent. To find out what a node would download for an update,
use `eaves diff`.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.material import Material, Setup, measure_each
from bench.measure import count_wire
from bench.processes import environment, python
from bench.report import Figure, Section, Table
from eaves.oci.layers import wheels
from eaves.oci.layers.bytecode import find_compiler
from eaves.oci.layers.image import pick_image
from eaves.oci.layout import open_layout
from eaves.oci.runtime import PACKAGES, find_lock, unpack
from tests.container_images.packaging import VERSION, build_base, run_package, this_platform
from tests.container_images.registries import serve_registry

ROUNDS = 3
SHARE_BAR = {"fp32": 500, "int8": 200}
SECONDS_BAR = 2.0
RUNTIME_BAR_MB = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Measurements of one push of a container image whose model has a new head on the same backbone.

    Attributes:
        seconds: Time of the whole `eaves package` process, seconds.
        floor_s: Time of `eaves verify` for the same artifact, seconds. It checks digests and golden images, which
            `eaves package` does too, so it is the minimum to compare with.
        up_bytes: Number of bytes that were sent to the registry.
        stored_bytes: Number of bytes of blobs that the registry stores since this push and didn't store before.
        backbone_bytes: Number of bytes of backbone layers among `stored_bytes`; 0 when the backbone was reused.
        digests: Digests of the container image from the push and from a second build of the same artifact; they should
            be equal.
    """

    seconds: float
    floor_s: float
    up_bytes: int
    stored_bytes: int
    backbone_bytes: int
    digests: tuple[str, str]


def measure(setup: Setup) -> Section:
    """Measure the container image's size and, for each model and precision, the cost of an update of the head."""
    updates = measure_each(setup, _measure_updates)
    with tempfile.TemporaryDirectory() as folder:
        sizes = measure_runtime(Path(folder))
    total = Figure(name="packages of the runtime, unpacked", value=sum(sizes.values()), unit="MB", bar=RUNTIME_BAR_MB)
    rows = tuple((name, f"{size:.1f}") for name, size in sorted(sizes.items(), key=lambda item: -item[1]))
    title = f"Packages of the runtime, {this_platform()}, Python {VERSION}, with byte code:"
    return replace(
        updates,
        figures=(total, *updates.figures),
        tables=(Table(title=title, heads=("", "MB"), rows=rows), *updates.tables),
    )


def _measure_updates(setup: Setup, material: Material) -> Section:
    if not shutil.which("docker-registry"):
        return Section(notes=("The update of a head was not measured: docker-registry is not installed.",))
    figures, rounds = [], setup.rounds(ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        for precision, new in material.updates.items():
            old, folders = material.precisions[precision], [Path(folder, f"{precision}{n}") for n in range(rounds)]
            figures += build_figures(precision, new, [push_update(old, new, one) for one in folders])
    return Section(figures=tuple(figures))


def measure_runtime(folder: Path) -> dict[str, float]:
    """Return the unpacked size of each Python package that every function's container image contains, MB."""
    platform, sizes = this_platform(), {}
    compiler = find_compiler(VERSION)
    (folder / "wheels").mkdir()
    for wheel in wheels.download(find_lock(), platform, VERSION, folder / "wheels"):
        root = folder / "roots" / wheel.name
        unpack(wheels.wheel_files(wheel, PACKAGES), compiler, root)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        sizes[wheel.name.split("-")[0]] = size / 1e6
    return sizes


def push_update(old: Path, new: Path, folder: Path) -> Update:
    """Push a container image with the artifact `old`, then one with `new`, and measure the second push."""
    layout = build_base(folder / "base")
    cache = folder.parent / "cache"
    with serve_registry(folder / "registry") as registry, count_wire(registry.host) as wire:
        words = ("--base", f"oci:{layout.path}", "--plain-http", "-o", "json")
        run_package(cache, old, "-t", f"{wire.host}/bench/f:old", *words)
        before = registry.blobs()
        wire.bytes.clear()
        start = time.perf_counter()
        done = run_package(cache, new, "-t", f"{wire.host}/bench/f:new", *words)
        seconds = time.perf_counter() - start
        up = wire.bytes["up"]
        arrived = {digest: size for digest, size in registry.blobs().items() if digest not in before}
    start = time.perf_counter()
    subprocess.run(
        [python(), "-P", "-m", "eaves.cli", "verify", str(new)], check=True, env=environment(), stdout=subprocess.PIPE
    )
    floor = time.perf_counter() - start
    again = run_package(cache, new, "-t", f"oci:{folder}/again:v1", *words[:2])
    image = pick_image(open_layout(folder / "again"), open_layout(folder / "again").resolve("v1"), this_platform())
    backbones = {
        layer.digest
        for layer in image.layers
        if layer.annotations.get("org.opencontainers.image.title", "").endswith("backbone.bin")
    }
    return Update(
        seconds=seconds,
        floor_s=floor,
        up_bytes=up,
        stored_bytes=sum(arrived.values()),
        backbone_bytes=sum(size for digest, size in arrived.items() if digest in backbones),
        digests=(json.loads(done.stdout)["digest"], again.stdout.strip().rpartition("@")[2]),
    )


def build_figures(precision: str, new: Path, updates: Sequence[Update]) -> list[Figure]:
    """Return the figures of an update of the head to the artifact `new`."""
    total = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
    last = updates[-1]
    seconds, floor = (statistics.median(getattr(one, name) for one in updates) for name in ("seconds", "floor_s"))
    digests = {digest for one in updates for digest in one.digests}
    backbone = max(one.backbone_bytes for one in updates)
    times = f"sent {last.up_bytes:,} of {total:,} bytes"
    return [
        Figure(
            name=f"{precision}, bytes of the artifact by bytes sent for a new head",
            value=total / last.up_bytes,
            bar=SHARE_BAR[precision],
            is_minimum=True,
            measured=times,
        ),
        Figure(name=f"{precision}, backbones stored again", value=backbone, unit="bytes", bar=0),
        Figure(
            name=f"{precision}, eaves package",
            value=seconds,
            unit="s",
            bar=SECONDS_BAR,
            measured=f"eaves verify {floor:.2f} s",
        ),
        Figure(name=f"{precision}, further digests of one input", value=len(digests) - 1, bar=0),
    ]

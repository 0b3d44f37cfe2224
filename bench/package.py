"""Benchmark of a container image's size, and of the cost of pushing a model with a new head to a real registry.

The variables EAVES_BENCH_ARTIFACT and EAVES_BENCH_ARTIFACT2 name two fp32 artifacts with the same backbone and
different heads; EAVES_BENCH_ARTIFACT_INT8 and EAVES_BENCH_ARTIFACT2_INT8 name two int8 artifacts of the same kind. A
proxy in front of the registry counts the bytes that are sent. To find out what a node would download for an update, use
`eaves diff`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.measure.timing import print_columns
from bench.measure.wire import count_wire
from eaves.artifact import open_artifact
from eaves.oci.layers import wheels
from eaves.oci.layers.bytecode import find_compiler
from eaves.oci.layers.image import pick_image
from eaves.oci.runtime import PACKAGES, find_lock, unpack
from eaves.oci.store.layout import open_layout
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


def main() -> None:
    """Measure the container image's size and the cost of an update of the head, and print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        print_runtime(Path(folder))
        if not shutil.which("docker-registry"):
            print("\nupdate of the head: docker-registry is not installed")
            return
        for precision, suffix in (("fp32", ""), ("int8", "_INT8")):
            old, new = (os.environ.get(f"EAVES_BENCH_ARTIFACT{number}{suffix}", "") for number in ("", "2"))
            if old and new:
                updates = [measure(Path(old), Path(new), Path(folder) / f"{precision}{n}") for n in range(ROUNDS)]
                print_update(precision, Path(new), updates)
            else:
                print(f"\nupdate, {precision}: set EAVES_BENCH_ARTIFACT{suffix} and EAVES_BENCH_ARTIFACT2{suffix}")


def print_runtime(folder: Path) -> None:
    """Print the unpacked size of each Python package that every function's container image contains."""
    platform, sizes = this_platform(), {}
    compiler = find_compiler(VERSION)
    (folder / "wheels").mkdir()
    for wheel in wheels.download(find_lock(), platform, VERSION, folder / "wheels"):
        root = folder / "roots" / wheel.name
        unpack(wheels.wheel_files(wheel, PACKAGES), compiler, root)
        sizes[wheel.name.split("-")[0]] = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    total = sum(sizes.values())
    rows = [[name, f"{size / 1e6:.1f}"] for name, size in sorted(sizes.items(), key=lambda item: -item[1])]
    title = f"the runtime's packages, {platform}, Python {VERSION}, with byte code"
    print_columns(title, ["", "MB"], [*rows, ["in all", f"{total / 1e6:.1f}"], ["bar", f"{RUNTIME_BAR_MB}"]])


def measure(old: Path, new: Path, folder: Path) -> Update:
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
    subprocess.run([sys.executable, "-P", "-m", "eaves.cli", "verify", str(new)], check=True, capture_output=True)
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


def print_update(precision: str, new: Path, updates: list[Update]) -> None:
    """Print the measurements of an update of the head, each beside its required limit."""
    total = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
    last = updates[-1]
    seconds, floor = (statistics.median(getattr(one, name) for one in updates) for name in ("seconds", "floor_s"))
    rows = [
        ["artifact, bytes", f"{total}", ""],
        ["sent to the registry, bytes", f"{last.up_bytes}", ""],
        ["... of the artifact", f"1/{total / last.up_bytes:.0f}", f"1/{SHARE_BAR[precision]}"],
        ["stored by the registry, bytes", f"{last.stored_bytes}", ""],
        ["... of backbones", f"{max(one.backbone_bytes for one in updates)}", "0"],
        ["eaves package, s", f"{seconds:.2f}", f"{SECONDS_BAR}"],
        ["... beside eaves verify", f"{seconds / floor:.2f}", ""],
        ["different digests of one input", f"{len({d for one in updates for d in one.digests}) - 1}", "0"],
    ]
    title = f"update of the head, {open_artifact(new).manifest.name}, {precision}, {ROUNDS} rounds"
    print_columns(title, ["", "", "bar"], rows)


if __name__ == "__main__":
    main()

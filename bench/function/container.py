"""Benchmark of a function's cold start in its container image, compared with a minimal script in the same root.

The function is packaged by `eaves package`, its container image is unpacked, and its command is started in the
unpacked root: read-only, as the container image's user and with its environment. The script is
bench/function/bare.py, which runs with the same Python, packages and byte code. Both are started with the root's files
in the page cache and without. The models are named by the environment variables that bench/function/start.py
describes.

EAVES_BENCH_BASE names the base image, as `eaves package --base` takes it. Without it, the base is made of the Python
that runs the benchmark and has no byte code of the standard library, as official slim images of Python.
EAVES_BENCH_ROOTS names a directory that keeps the unpacked roots for the next run (default: they are removed), and
EAVES_BENCH_ROUNDS the number of rounds. With 0 rounds, only the roots are made. It needs Linux, root and umoci.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.function.container_root import (
    BARE,
    FUNCTION,
    KINDS,
    MATERIAL,
    ContainerRoot,
    ContainerStart,
    Trial,
    can_drop_caches,
)
from bench.function.process import ROOT, Start
from bench.function.start import Material, open_material
from bench.measure.timing import print_columns
from tests.container_images.packaging import build_base, run_package
from tests.container_images.unpacked import unpack

ROUNDS = 7
BARS = {"fp32": 0.85, "int8": 0.6}
"""Maximum allowed ratio of a function's start time to the minimal script's, by the precision of its model."""
TOOLS = ("umoci", "skopeo", "unshare", "mount", "chroot")
NAMESPACE = ("unshare", "--mount", "--propagation", "private")
CACHE = ROOT / "build/bench/container-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Medians of the starts of one kind.

    Attributes:
        precision: Precision of the function's model. The minimal script always has the exported fp32 model.
        kind: What was started, one of `container_root.KINDS`.
        cache: State of the page cache, one of `container_root.CACHES`.
        wall_ms: Elapsed time from exec to the first prediction, ms.
        cpu_ms: CPU time until then, ms.
        read_mb: Data read from the disk until then, MB.
        of_bare: Ratio of `wall_ms` to that of the minimal script in the same root.
        cpu_of_bare: Ratio of `cpu_ms` to that of the minimal script in the same root.
        bar: Maximum allowed `of_bare`; None for what has no limit.
    """

    precision: str
    kind: str
    cache: str
    wall_ms: float
    cpu_ms: float
    read_mb: float
    of_bare: float
    cpu_of_bare: float
    bar: float | None


def main() -> None:
    """Measure the starts, and print the table; print the reason if this machine can't start a container's root."""
    if missing := missing_requirement():
        print(f"\nfunction_container: {missing}")
        return
    with tempfile.TemporaryDirectory() as folder:
        material = open_material(Path(folder))
        if material is None:
            print("\nfunction_container: set EAVES_BENCH_RUN, or the variables that bench/function/start.py names")
            return
        kept = Path(os.environ.get("EAVES_BENCH_ROOTS") or f"{folder}/roots").absolute()
        rounds = int(os.environ.get("EAVES_BENCH_ROUNDS", ROUNDS))
        figures = measure(prepare(material, kept), kept, rounds=rounds)
        if figures:
            print_columns(title(rounds), *build_table(figures))


def missing_requirement() -> str:
    """Return what this machine lacks for the benchmark; empty when nothing is missing."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "starting a container's root needs Linux and root"
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    if tools:
        return f"{', '.join(tools)} not installed"
    allowed = subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True, text=True)
    return f"a mount namespace is refused: {allowed.stderr.strip()}" if allowed.returncode else ""


def title(rounds: int) -> str:
    """Return the title of the table, with the base and the way in which the page cache is dropped."""
    base = os.environ.get("EAVES_BENCH_BASE") or f"this Python {'.'.join(map(str, sys.version_info[:3]))}"
    way = "drop_caches" if can_drop_caches() else "posix_fadvise of the root's files, as drop_caches is refused"
    return f"cold start in the container's root, base: {base}; medians of {rounds}; page cache dropped by {way}"


def prepare(material: Material, folder: Path) -> dict[str, ContainerRoot]:
    """Return the unpacked container images of both artifacts by precision; a folder that has them is used as it is."""
    record = folder / "roots.json"
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        base = os.environ.get("EAVES_BENCH_BASE") or f"oci:{build_base(folder / 'base', plain=True).path}:base"
        made = {
            precision: asdict(_unpack(artifact, material, base, folder / precision))
            for precision, artifact in {"fp32": material.fp32, "int8": material.int8}.items()
        }
        record.write_text(json.dumps(made))
    return {name: ContainerRoot(**root) for name, root in json.loads(record.read_text()).items()}


def measure(roots: Mapping[str, ContainerRoot], folder: Path, *, rounds: int = ROUNDS) -> list[Figure]:
    """Measure starts in the roots in a process with a mount namespace of its own; no figures with 0 rounds.

    Args:
        roots: Root of each container image by the precision of its model, as `prepare` returns them.
        folder: Folder for the description of the trial.
        rounds: Number of counted starts of each kind in each state of the page cache.
    """
    if not rounds:
        return []
    file = folder / "trial.json"
    file.write_text(json.dumps(asdict(Trial(roots=roots, rounds=rounds))))
    command = [*NAMESPACE, sys.executable, "-P", "-m", "bench.function.container_root", str(file)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environ)
    if done.returncode:
        sys.exit(done.returncode)
    values = map(json.loads, done.stdout.splitlines())
    return build_figures(ContainerStart(**{**one, "start": Start(**one["start"])}) for one in values)


def build_figures(starts: Iterable[ContainerStart]) -> list[Figure]:
    """Return the medians of all starts: fp32 before int8, a warm page cache before a dropped one, in order of KINDS."""
    found: dict[tuple[str, str], dict[str, list[Start]]] = defaultdict(lambda: defaultdict(list))
    for one in starts:
        found[one.precision, one.cache][one.kind].append(one.start)
    figures = []
    for (precision, cache), kinds in found.items():
        bare_ms, bare_cpu_ms = _median(kinds[BARE], "wall_ms"), _median(kinds[BARE], "cpu_ms")
        for kind in KINDS:
            wall_ms, cpu_ms = _median(kinds[kind], "wall_ms"), _median(kinds[kind], "cpu_ms")
            figures.append(
                Figure(
                    precision=precision,
                    kind=kind,
                    cache=cache,
                    wall_ms=wall_ms,
                    cpu_ms=cpu_ms,
                    read_mb=_median(kinds[kind], "read_mb"),
                    of_bare=wall_ms / bare_ms,
                    cpu_of_bare=cpu_ms / bare_cpu_ms,
                    bar=BARS.get(precision) if kind == FUNCTION else None,
                )
            )
    return sorted(figures, key=lambda figure: figure.precision)


def build_table(figures: Sequence[Figure]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and rows of the table."""
    heads = ["", "precision:", "page cache:", "wall ms", "CPU ms", "read MB", "of bare", "CPU of bare", "bar"]
    rows = []
    for one in figures:
        numbers = [f"{one.wall_ms:.0f}", f"{one.cpu_ms:.0f}", f"{one.read_mb:.0f}"]
        ratios = [f"{one.of_bare:.2f}", f"{one.cpu_of_bare:.2f}", "" if one.bar is None else f"{one.bar}"]
        rows.append([one.kind, one.precision, one.cache, *numbers, *ratios])
    return heads, rows


def _unpack(artifact: Path, material: Material, base: str, folder: Path) -> ContainerRoot:
    """Package an artifact, and unpack its container image with the minimal script beside it."""
    run_package(CACHE, artifact, "-t", f"oci:{folder}/layout:v1", "--base", base)
    root, config = unpack(folder / "layout", "v1", folder / "bundle")
    for name in ("dev", "sys"):
        (root / name).mkdir(exist_ok=True)
    (root / MATERIAL).mkdir()
    scripts = {"bare.py": ROOT / "bench/function/bare.py", "model.onnx": material.exported, "image.jpg": material.image}
    for name, source in scripts.items():
        shutil.copyfile(source, root / MATERIAL / name)
    uncompiled = folder / "uncompiled"
    subprocess.run(["cp", "--archive", "--link", str(root), str(uncompiled)], check=True)
    for path in uncompiled.rglob("*.pyc"):
        if path.relative_to(uncompiled).parts[0] != "opt":  # where the function's packages and code are
            path.unlink()
    return ContainerRoot(
        path=str(root),
        uncompiled=str(uncompiled),
        environment=dict(entry.split("=", 1) for entry in config["Env"]),
        command=config["Entrypoint"],
        user=config["User"],
    )


def _median(starts: Sequence[Start], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in starts))


if __name__ == "__main__":
    main()

"""Benchmark of a function's cold start in its container image, compared with a minimal script in the same root.

The function is packaged by `eaves package`, its container image is unpacked, and its command is started in the
unpacked root: read-only, as the container image's user and with its environment. The script is
bench/function/bare.py, which runs with the same Python, packages and byte code. Both are started with the root's files
in the page cache and without.

EAVES_BENCH_BASE names the base image, as `eaves package --base` takes it. Without it, the base is made of the Python
that runs the benchmark and has no byte code of the standard library, as official slim images of Python.
EAVES_BENCH_ROOTS names a directory that keeps the unpacked roots for the next run; by default they are removed. It
needs Linux, root and umoci.
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.function.container_root import (
    BARE,
    FUNCTION,
    KINDS,
    MATERIAL,
    WARM,
    ContainerRoot,
    ContainerStart,
    Trial,
    can_drop_caches,
)
from bench.function.process import ROOT, Start
from bench.material import FOLDER, Material, Setup
from bench.report.section import Figure, Section, Table, UnavailableError
from tests.container_images.packaging import build_base, run_package
from tests.container_images.unpacked import unpack

ROUNDS = 7
BARS = {"fp32": 0.85, "int8": 0.6}
"""Maximum allowed ratio of a function's start time to the minimal script's, by the precision of its model."""
OTHERS_BAR = 0.6
"""Maximum allowed ratio of a start with the default architecture's model to one with another model."""
TOOLS = ("umoci", "skopeo", "unshare", "mount", "chroot")
NAMESPACE = ("unshare", "--mount", "--propagation", "private")
CACHE = FOLDER / "container-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Medians:
    """Medians of the starts of one kind.

    Attributes:
        artifact: Name of the function's artifact: its model and precision. The minimal script always has the exported
            fp32 model.
        kind: What was started, one of `container_root.KINDS`.
        cache: State of the page cache, one of `container_root.CACHES`.
        wall_ms: Elapsed time from exec to the first prediction, ms.
        cpu_ms: CPU time until then, ms.
        read_mb: Data read from the disk until then, MB.
        of_bare: Ratio of `wall_ms` to that of the minimal script in the same root.
        cpu_of_bare: Ratio of `cpu_ms` to that of the minimal script in the same root.
        bar: Maximum allowed `of_bare`; None for what has no limit.
    """

    artifact: str
    kind: str
    cache: str
    wall_ms: float
    cpu_ms: float
    read_mb: float
    of_bare: float
    cpu_of_bare: float
    bar: float | None


def measure_section(setup: Setup) -> Section:
    """Package, unpack and start the functions of all models and precisions.

    Raises:
        UnavailableError: When this machine can't start a container's root, or there are no models.
    """
    models = setup.need_models()
    if missing := missing_requirement():
        raise UnavailableError(missing)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(setup.environ.get("EAVES_BENCH_ROOTS") or f"{folder}/roots").absolute()
        base, rounds = setup.environ.get("EAVES_BENCH_BASE", ""), setup.rounds(ROUNDS)
        roots = prepare(models, kept, base)
        return build_section(measure(roots, kept, rounds=rounds), rounds, base)


def missing_requirement() -> str:
    """Return what this machine lacks for the benchmark; empty when nothing is missing."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "starting a container's root needs Linux and root"
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    if tools:
        return f"{', '.join(tools)} not installed"
    allowed = subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True, text=True)
    return f"a mount namespace is refused: {allowed.stderr.strip()}" if allowed.returncode else ""


def prepare(models: Sequence[Material], folder: Path, base: str = "") -> dict[str, ContainerRoot]:
    """Return the unpacked container images of the artifacts by name; a folder that has them is used as it is.

    `base` is the base image as `eaves package --base` takes it; empty: a base with this process's Python.
    """
    record = folder / "roots.json"
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        below = base or f"oci:{build_base(folder / 'base', plain=True).path}:base"
        made = {}
        for material in models:
            for precision, artifact in material.precisions.items():
                unpacked = _unpack(artifact, material, below, folder / material.name / precision)
                made[f"{material.name}, {precision}"] = asdict(unpacked)
        record.write_text(json.dumps(made))
    return {name: ContainerRoot(**root) for name, root in json.loads(record.read_text()).items()}


def measure(roots: Mapping[str, ContainerRoot], folder: Path, *, rounds: int = ROUNDS) -> list[Medians]:
    """Measure starts in the roots in a process with a mount namespace of its own.

    Args:
        roots: Root of each container image by the name of its artifact, as `prepare` returns them.
        folder: Folder for the description of the trial.
        rounds: Number of counted starts of each kind in each state of the page cache.
    """
    file = folder / "trial.json"
    file.write_text(json.dumps(asdict(Trial(roots=roots, rounds=rounds))))
    command = [*NAMESPACE, sys.executable, "-P", "-m", "bench.function.container_root", str(file)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environ)
    if done.returncode:
        sys.exit(done.returncode)
    values = map(json.loads, done.stdout.splitlines())
    return build_medians(ContainerStart(**{**one, "start": Start(**one["start"])}) for one in values)


def build_medians(starts: Iterable[ContainerStart]) -> list[Medians]:
    """Return the medians of all starts: by artifact, then a warm page cache before a dropped one, then by kind."""
    found: dict[tuple[str, str], dict[str, list[Start]]] = defaultdict(lambda: defaultdict(list))
    for one in starts:
        found[one.artifact, one.cache][one.kind].append(one.start)
    medians = []
    for (artifact, cache), kinds in found.items():
        bare_ms, bare_cpu_ms = _median(kinds[BARE], "wall_ms"), _median(kinds[BARE], "cpu_ms")
        for kind in KINDS:
            wall_ms, cpu_ms = _median(kinds[kind], "wall_ms"), _median(kinds[kind], "cpu_ms")
            medians.append(
                Medians(
                    artifact=artifact,
                    kind=kind,
                    cache=cache,
                    wall_ms=wall_ms,
                    cpu_ms=cpu_ms,
                    read_mb=_median(kinds[kind], "read_mb"),
                    of_bare=wall_ms / bare_ms,
                    cpu_of_bare=cpu_ms / bare_cpu_ms,
                    bar=BARS[artifact.rpartition(", ")[2]] if kind == FUNCTION else None,
                )
            )
    order = list(dict.fromkeys(one.artifact for one in medians))
    return sorted(medians, key=lambda one: order.index(one.artifact))


def build_section(medians: Sequence[Medians], rounds: int, base: str = "") -> Section:
    """Return the section of the medians; the summary has each function's start with a warm page cache."""
    figures = {one: _figure(one) for one in medians if one.bar is not None}
    heads = ("", "artifact", "page cache", "start ms", "CPU ms", "read MB", "of bare", "CPU of bare", "bar")
    rows = []
    for one in medians:
        figure = figures.get(one)
        ratio = f"{one.of_bare:.2f}" if figure is None else figure.render_value()
        numbers = (f"{one.wall_ms:.0f}", f"{one.cpu_ms:.0f}", f"{one.read_mb:.0f}", ratio, f"{one.cpu_of_bare:.2f}")
        rows.append((one.kind, one.artifact, one.cache, *numbers, "" if figure is None else figure.render_bar()))
    way = "drop_caches" if can_drop_caches() else "posix_fadvise for each file, because drop_caches is refused"
    return Section(
        figures=(*_compare_models(medians), *figures.values()),
        tables=(Table(title=f"Medians of {rounds} starts in turn:", heads=heads, rows=tuple(rows)),),
        notes=(
            f"The base is {base or 'made of the Python that runs the benchmark, as official images are built'}.",
            f"The page cache is dropped by {way}.",
        ),
    )


def _compare_models(medians: Sequence[Medians]) -> Iterator[Figure]:
    """Yield the starts with the first model beside those with each other model of the same precision."""
    starts = {one.artifact: one for one in medians if one.kind == FUNCTION and one.cache == WARM}
    first = next(iter(starts)).rpartition(", ")[0]
    for name, other in starts.items():
        model, _, precision = name.rpartition(", ")
        if model != first:
            ours = starts[f"{first}, {precision}"]
            yield Figure(
                name=f"{first}, {precision}, start of {model}'s",
                value=ours.wall_ms / other.wall_ms,
                bar=OTHERS_BAR,
                measured=f"{ours.wall_ms:.0f} ms of {other.wall_ms:.0f} ms",
            )


def _figure(one: Medians) -> Figure:
    return Figure(
        name=f"{one.artifact}, page cache {one.cache}, start of the bare script's",
        value=one.of_bare,
        bar=one.bar,
        measured=f"{one.wall_ms:.0f} ms of {one.wall_ms / one.of_bare:.0f} ms",
        is_headline=one.cache == WARM,
    )


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

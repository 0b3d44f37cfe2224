"""Benchmark of a function's cold start in its container image, compared with a minimal script in the same root.

The function is packaged by `eaves package`, its container image is unpacked, and its command is started in the
unpacked root: read-only, as the container image's user and with its environment. The script is
bench/function/bare.py, with the same Python, packages and byte code. Both are started with the root's files in the page
cache and without. The base is made of the Python that runs the benchmark. It needs Linux, root and umoci.

`unshare --mount --propagation private python -P -m bench.function.container FILE ROUNDS` reads the roots from FILE and
prints one JSON list for each start; its mounts end with the process's mount namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.function.start import SCRIPT, median, run_bare
from bench.material import FOLDER, Material, Setup
from bench.measure import take_turns
from bench.processes import Message, Start, environment, measure_start, python
from bench.report import Figure, Section, Table, UnavailableError
from tests.container_images.packaging import build_base, run_package
from tests.container_images.unpacked import unpack
from tests.ports import find_port

ROUNDS = 7
BARE, FUNCTION = "bare script", "function"
WARM, DROPPED = "warm", "dropped"
"""States of the page cache at a start: it contains all files of the root, or none."""
BARS = {"fp32": 0.85, "int8": 0.6}
"""Maximum ratio of a function's start time to the minimal script's, by the precision of its model, as set for Inception
V3."""
OTHERS_BAR = 0.6
"""Maximum ratio of a start with the default architecture's model to one with another model."""
TOOLS = ("umoci", "skopeo", "unshare", "mount", "chroot")
NAMESPACE = ("unshare", "--mount", "--propagation", "private")
MATERIAL = "bench"
"""Folder of the root with the minimal script, its model and the image."""
DROP_CACHES = Path("/proc/sys/vm/drop_caches")

Starts = Mapping[tuple[str, str, str], Sequence[Start]]
"""Starts by the artifact (model and precision), the state of the page cache, and the kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRoot:
    """The unpacked root of one container image.

    Attributes:
        path: Root directory.
        environment: Environment variables that the container image declares.
        command: Command that the container image declares.
        user: Numeric user and group that the container image declares, such as `65532:65532`.
    """

    path: str
    environment: Mapping[str, str]
    command: Sequence[str]
    user: str


def measure(setup: Setup) -> Section:
    """Package, unpack and start the functions of all models and precisions.

    Raises:
        UnavailableError: When this machine can't start a container's root.
    """
    if missing := _find_missing():
        raise UnavailableError(missing)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = f"oci:{build_base(folder / 'base', plain=True).path}:base"
        roots = {
            f"{material.name}, {precision}": _unpack(artifact, material, base, folder / f"{material.name}-{precision}")
            for material in setup.models
            for precision, artifact in material.precisions.items()
        }
        file = folder / "roots.json"
        file.write_text(json.dumps({name: asdict(root) for name, root in roots.items()}))
        rounds = setup.rounds(ROUNDS)
        command = [*NAMESPACE, python(), "-P", "-m", "bench.function.container", str(file), str(rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment())
    found: dict[tuple[str, str, str], list[Start]] = defaultdict(list)
    for line in done.stdout.splitlines():
        *key, values = json.loads(line)
        found[key[0], key[1], key[2]].append(Start(**values))
    return build_section(found)


def build_section(found: Starts) -> Section:
    """Return the section of all starts."""
    figures, rows = list(_compare_models(found)), []
    for (artifact, cache, kind), starts in found.items():
        bare_ms, wall_ms = median(found[artifact, cache, BARE], "wall_ms"), median(starts, "wall_ms")
        if kind == FUNCTION:
            name, text = f"{artifact}, page cache {cache}, start of bare", f"{wall_ms:.0f} ms of {bare_ms:.0f} ms"
            bar = BARS[artifact.rpartition(", ")[2]]
            figures.append(Figure(name=name, value=wall_ms / bare_ms, bar=bar, measured=text))
        numbers = (f"{wall_ms:.0f}", f"{median(starts, 'cpu_ms'):.0f}", f"{median(starts, 'read_mb'):.0f}")
        rows.append((kind, artifact, cache, *numbers))
    heads = ("", "artifact", "page cache", "start ms", "CPU ms", "read MB")
    title = f"Medians of {len(next(iter(found.values())))} starts in turn:"
    return Section(figures=tuple(figures), tables=(Table(title=title, heads=heads, rows=tuple(rows)),))


def _compare_models(found: Starts) -> list[Figure]:
    """Return the starts with the first model beside those with each other model of the same precision."""
    starts = {name: median(found[name, cache, kind], "wall_ms")
              for name, cache, kind in found if (cache, kind) == (WARM, FUNCTION)}  # fmt: skip
    first, figures = next(iter(starts)).rpartition(", ")[0], []
    for name, other_ms in starts.items():
        model, _, precision = name.rpartition(", ")
        if model != first:
            ours_ms = starts[f"{first}, {precision}"]
            text = f"{ours_ms:.0f} ms of {other_ms:.0f} ms"
            what = f"{first}, {precision}, start of {model}'s"
            figures.append(Figure(name=what, value=ours_ms / other_ms, bar=OTHERS_BAR, measured=text))
    return figures


def _find_missing() -> str:
    """Return what this machine lacks for the benchmark; empty when nothing is missing."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "starting a container's root needs Linux and root"
    if tools := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(tools)} not installed"
    allowed = subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True, text=True)
    return f"a mount namespace is refused: {allowed.stderr.strip()}" if allowed.returncode else ""


def _unpack(artifact: Path, material: Material, base: str, folder: Path) -> ContainerRoot:
    """Package an artifact, and unpack its container image with the minimal script beside it."""
    run_package(FOLDER / "container-cache", artifact, "-t", f"oci:{folder}/layout:v1", "--base", base)
    root, config = unpack(folder / "layout", "v1", folder / "bundle")
    for name in ("dev", "sys", MATERIAL):
        (root / name).mkdir(exist_ok=True)
    scripts = {"bare.py": SCRIPT, "model.onnx": material.exported, "image.jpg": material.image}
    for name, source in scripts.items():
        shutil.copyfile(source, root / MATERIAL / name)
    environ = dict(entry.split("=", 1) for entry in config["Env"])
    return ContainerRoot(path=str(root), environment=environ, command=config["Entrypoint"], user=config["User"])


def start_in_turn(roots: Mapping[str, ContainerRoot], rounds: int) -> None:
    """Mount the roots, start each kind in turn, with either state of the page cache, and print the starts."""
    os.sync()  # dirty pages can't be dropped
    for root in roots.values():
        _mount(root.path)
    for cache in (WARM, DROPPED):
        subjects = {
            f"{name}\t{kind}": partial(_start, root, kind, is_dropped=cache == DROPPED)
            for name, root in roots.items()
            for kind in (BARE, FUNCTION)
        }
        found, failed = take_turns(subjects, rounds, warm_up=True)
        if failed:
            sys.exit(f"error: {failed}")
        for key, starts in found.items():
            name, kind = key.split("\t")
            for start in starts:
                print(json.dumps([name, cache, kind, asdict(start)]))


def _start(root: ContainerRoot, kind: str, *, is_dropped: bool) -> Start:
    folder = Path(root.path)
    if is_dropped:
        _drop_page_cache(folder)
    enter = [str(shutil.which("chroot")), f"--userspec={root.user}", str(folder)]
    if kind == BARE:
        words = [root.command[0], "-P", *(f"/{MATERIAL}/{name}" for name in ("bare.py", "model.onnx", "image.jpg"))]
        return run_bare([*enter, *words], root.environment)
    port, image = find_port(), (folder / MATERIAL / "image.jpg").read_bytes()
    environ = {**root.environment, "EAVES_HOST": "127.0.0.1", "PORT": str(port)}
    return measure_start([*enter, *root.command], environ, port, Message(body=image))


def _mount(folder: str) -> None:
    """Mount the root as a container runtime does: read-only, with /proc, /dev, /sys and an empty /tmp."""
    for words in (
        ("--bind", folder, folder),
        ("-t", "tmpfs", "tmpfs", f"{folder}/tmp"),
        ("-t", "proc", "proc", f"{folder}/proc"),
        ("--rbind", "/dev", f"{folder}/dev"),
        ("--rbind", "/sys", f"{folder}/sys"),
        ("-o", "remount,ro,bind", folder),
    ):
        subprocess.run(["mount", *words], check=True)


def _drop_page_cache(root: Path) -> None:
    """Remove the root's files from the page cache: with drop_caches where it may be written, else file by file.

    Source: the kernel's Documentation/admin-guide/sysctl/vm.rst, drop_caches; posix_fadvise(2), POSIX_FADV_DONTNEED.
    """
    if os.access(DROP_CACHES, os.W_OK):
        DROP_CACHES.write_text("3")
        return
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            if path.is_file() and not path.is_symlink() and path.stat().st_dev == root.stat().st_dev:
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    start_in_turn({name: ContainerRoot(**root) for name, root in given.items()}, int(sys.argv[2]))

"""Starts a function and the minimal script in unpacked container images, and measures the starts.

`unshare --mount --propagation private python -P -m bench.function.container_root FILE` reads a `Trial` from FILE as
JSON, and prints one JSON object for each start. It needs root. The mounts end with the process's mount namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.function.process import Message, Start, measure_script, measure_start
from tests.ports import find_port

BARE, FUNCTION, UNCOMPILED = "bare script", "function", "function without the standard library's byte code"
KINDS = (BARE, FUNCTION, UNCOMPILED)
WARM, DROPPED = "warm", "dropped"
CACHES = (WARM, DROPPED)
"""States of the page cache at a start: it contains all files of the root, or none."""
MATERIAL = "bench"
"""Folder of the root with the minimal script, its model and the image."""
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRoot:
    """The unpacked root of one container image.

    Attributes:
        path: Root directory.
        uncompiled: A copy of the root, of hard links, without the standard library's byte code.
        environment: Environment variables that the container image declares.
        command: Command that the container image declares.
        user: Numeric user and group that the container image declares, such as `65532:65532`.
    """

    path: str
    uncompiled: str
    environment: Mapping[str, str]
    command: Sequence[str]
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is measured.

    Attributes:
        roots: Root of each container image by the name of its artifact.
        rounds: Number of counted starts of each kind in each state of the page cache. The kinds alternate, and one
            more round runs first and isn't counted.
    """

    roots: Mapping[str, ContainerRoot]
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStart:
    """One start in a container's root.

    Attributes:
        artifact: Name of the function's artifact. The minimal script always has the exported fp32 model.
        kind: One of `KINDS`.
        cache: One of `CACHES`.
        start: Measurements of the start.
    """

    artifact: str
    kind: str
    cache: str
    start: Start


def measure(trial: Trial) -> Iterator[ContainerStart]:
    """Mount the roots, and yield each counted start."""
    kinds = [(name, root, kind) for name, root in trial.roots.items() for kind in KINDS]
    for _, root, kind in kinds:
        if kind != BARE:
            _mount(_folder(root, kind))
    for cache in CACHES:
        for number in range(trial.rounds + 1):
            print(f"container starts, page cache {cache}: round {number} of {trial.rounds}", file=sys.stderr)
            for name, root, kind in kinds:
                if cache == DROPPED:
                    drop_page_cache(_folder(root, kind))
                start = _start(root, kind)
                if number:
                    yield ContainerStart(artifact=name, kind=kind, cache=cache, start=start)


def _folder(root: ContainerRoot, kind: str) -> Path:
    return Path(root.uncompiled if kind == UNCOMPILED else root.path)


def _start(root: ContainerRoot, kind: str) -> Start:
    folder = _folder(root, kind)
    enter = [str(shutil.which("chroot")), f"--userspec={root.user}", str(folder)]
    if kind == BARE:
        words = [root.command[0], "-P", *(f"/{MATERIAL}/{name}" for name in ("bare.py", "model.onnx", "image.jpg"))]
        return measure_script([*enter, *words], root.environment)
    port, image = find_port(), (folder / MATERIAL / "image.jpg").read_bytes()
    environ = {**root.environment, "EAVES_HOST": "127.0.0.1", "PORT": str(port)}
    return measure_start([*enter, *root.command], environ, port, Message(body=image))


def _mount(root: Path) -> None:
    """Mount the root as a container runtime does: read-only, with /proc, /dev, /sys and an empty /tmp."""
    folder = str(root)
    _run("mount", "--bind", folder, folder)
    for name, words in {
        "tmp": ("-t", "tmpfs", "tmpfs"),
        "proc": ("-t", "proc", "proc"),
        "dev": ("--rbind", "/dev"),
        "sys": ("--rbind", "/sys"),
    }.items():
        _run("mount", *words, f"{folder}/{name}")
    _run("mount", "-o", "remount,ro,bind", folder)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)}: {done.stderr.strip()}")


def drop_page_cache(root: Path) -> None:
    """Remove the root's files from the page cache: with drop_caches where it may be written, else file by file.

    Source: the kernel's Documentation/admin-guide/sysctl/vm.rst, drop_caches; posix_fadvise(2), POSIX_FADV_DONTNEED.
    """
    if can_drop_caches():
        DROP_CACHES.write_text("3")
        return
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            if path.is_file() and not path.is_symlink() and path.stat().st_dev == root.stat().st_dev:
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def can_drop_caches() -> bool:
    """Return whether the kernel lets this process drop the machine's whole page cache."""
    try:
        DROP_CACHES.open("w").close()
    except OSError:
        return False
    return True


def main(file: str) -> None:
    """Measure the trial in a file, and print a line of JSON for each start."""
    values = json.loads(Path(file).read_text())
    roots = {name: ContainerRoot(**root) for name, root in values["roots"].items()}
    os.sync()  # dirty pages can't be dropped
    for one in measure(Trial(roots=roots, rounds=values["rounds"])):
        print(json.dumps(asdict(one)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

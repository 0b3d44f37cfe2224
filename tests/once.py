"""What is too expensive to build twice: built once for all worker processes of a run, or once on this machine."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import eaves
from eaves.base.files import write_atomically
from eaves.oci.import_graph import reachable_modules

ROOT = Path(__file__).resolve().parents[1]
IS_CHECKOUT = Path(eaves.__file__).resolve().is_relative_to(ROOT)
"""Whether the tested modules are below ROOT, and not those of an installed wheel."""
PACKAGES = ("eaves", "trainer", "converters", "functions", "knative", "bench", "tests")
KEPT_UNUSED_S = 24 * 3600
"""Seconds after its last use for which an entry of the cache is kept; more than the longest run takes."""


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], Path]) -> Path:
    """Build something that tests only read; workers that need it meanwhile wait for it.

    Args:
        factory: That of pytest.
        name: Names the thing among all that are built so.
        build: Builds it below the folder that it is given, which is empty, and returns its path.

    Returns:
        What `build` returned, in this process or in another.
    """
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # the folder of a worker lies in the one of the whole run
    folder, result = run / name, run / f"{name}.path"
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a build that failed
            folder.mkdir()
            result.write_text(str(build(folder)), encoding="utf-8")
    return Path(result.read_text(encoding="utf-8"))


def build_once_here(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], Path], *inputs: Path) -> Path:
    """Build something that tests only read, once on this machine for as long as nothing changes that decides it.

    It is in the user's cache folder, under a digest of every module that the module of `build` may import, of the lock
    file, and of the inputs. An entry that is incomplete, or of which a file has changed, is built again.

    Args:
        factory: That of pytest.
        name: Names the thing among all that are built so.
        build: Builds it below the folder that it is given, which is empty, and returns its path.
        inputs: Files and folders that `build` reads.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eaves-tests" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        can_write = os.access(folder, os.W_OK)
    except OSError:
        can_write = False
    if not can_write or not IS_CHECKOUT:
        return build_once(factory, name, build)
    return build_once(factory, name, lambda _: build_in_cache(folder, build, *inputs))


def build_in_cache(folder: Path, build: Callable[[Path], Path], *inputs: Path) -> Path:
    """Return what an entry below `folder` holds, after it was built if it has to be; remove entries out of use."""
    read = [list(_digest_files(path).values()) for path in inputs]
    key = hashlib.sha256(f"{_digest_code(build.__module__)} {read}".encode()).hexdigest()[:16]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entry, record = folder / key, folder / f"{key}.json"
        built = json.loads(record.read_text(encoding="utf-8")) if record.exists() else None
        if built is None or not built["files"].items() <= _digest_files(entry).items():
            record.unlink(missing_ok=True)
            shutil.rmtree(entry, ignore_errors=True)
            entry.mkdir()
            built = {"path": str(build(entry)), "files": _digest_files(entry)}
            write_atomically(record, json.dumps(built))  # the last file: without it, the entry is incomplete
        os.utime(record)
        for other in folder.iterdir():
            if other.is_dir() and not _is_in_use(other.with_suffix(".json")):
                other.with_suffix(".json").unlink(missing_ok=True)
                shutil.rmtree(other)
        return Path(built["path"])


def _is_in_use(record: Path) -> bool:
    return record.exists() and time.time() - record.stat().st_mtime < KEPT_UNUSED_S


def find_code(module: str) -> list[Path]:
    """Files that decide what the code of a module does: its own, all that it may import, templates, the lock file."""
    found = reachable_modules(ROOT, PACKAGES, [module]).values()
    templates = {path for folder in {file.parent for file in found} for path in folder.glob("*.j2")}
    return sorted({*found, *templates, ROOT / "requirements/dev.txt"})


@cache
def _digest_code(module: str) -> str:
    digest = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    for path in find_code(module):
        digest.update(f"{path.relative_to(ROOT)} {_digest_file(path)}\n".encode())
    return digest.hexdigest()


def _digest_files(path: Path) -> dict[str, str]:
    """Digests of a file, or of all files below a folder, by relative path."""
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {str(file.relative_to(path)): _digest_file(file) for file in files}


def _digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

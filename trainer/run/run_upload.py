"""Runs at a URI: uploaded with `run.json` last, found again, and fetched. A run exists when its `run.json` does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from eaves.errors import RunError
from trainer.progress import SilentProgress, TrainingProgress
from trainer.run.run import MANIFEST, Run, open_run
from trainer.storage import FileStore, open_store

AT_ONCE = 8
"""Files on their way at the same time."""


def publish(run: Run, store: FileStore) -> None:
    """Upload a run; whoever looks meanwhile sees none.

    Raises:
        StorageError: A file can't be read or written.
    """
    _each(list(run.files), lambda name: store.write(name, (run.path / name).read_bytes()))
    store.write(MANIFEST, (run.path / MANIFEST).read_bytes())


class RunReader(Protocol):
    """Where a run can be read: a `FileStore`, or something that has what one has."""

    uri: str

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        ...

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        ...


def fetch_run(uri: str, local: Path) -> Run:
    """Download a run into a directory, unless it is there already, and open it checked.

    Args:
        uri: Where it was trained to.
        local: The directory; what is in it is replaced when it is another run.

    Raises:
        RunError: No run is there, or it is damaged.
        StorageError: It can't be read.
    """
    return fetch_from(open_store(uri), local)


def fetch_from(reader: RunReader, local: Path, progress: TrainingProgress | None = None) -> Run:
    """The same from wherever a run can be read.

    Raises:
        RunError: No run is there, or it is damaged.
        StorageError: It can't be read.
    """
    uri = reader.uri
    if not reader.exists(MANIFEST):
        raise RunError(f"no run in {uri}: it has no {MANIFEST}", hint="train one, or name another URI")
    manifest = reader.read(MANIFEST)
    if (local / MANIFEST).is_file() and (local / MANIFEST).read_bytes() == manifest:
        return open_run(local)
    shutil.rmtree(local, ignore_errors=True)
    names = _manifest_files(uri, manifest)
    local.mkdir(parents=True)
    with (progress or SilentProgress()).phase("Fetching the run", len(names)) as step:

        def download(name: str) -> None:
            file = (local / name).resolve()
            if not file.is_relative_to(local.resolve()):
                raise RunError(f"{uri}/{MANIFEST} names a file outside the run: {name}", hint="train it again")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(reader.read(name))
            step()

        _each(names, download)
    (local / MANIFEST).write_bytes(manifest)
    return open_run(local)


def find_fingerprint(manifest: bytes) -> str | None:
    """The fingerprint that a `run.json` tells; None when it tells none."""
    try:
        values = json.loads(manifest)
        return str(values["fingerprint"]) or None
    except (ValueError, KeyError, TypeError):
        return None


def _manifest_files(uri: str, manifest: bytes) -> list[str]:
    try:
        return [str(name) for name in json.loads(manifest)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{uri}/{MANIFEST} can't be read: {error}", hint="train it again") from error


def _each(names: list[str], action: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for _ in pool.map(action, names):
            pass

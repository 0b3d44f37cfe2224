"""Uploads runs to a URI with `run.json` last, and downloads them; a run exists when its `run.json` does."""

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
"""Maximum number of files that are transferred at the same time."""


def publish(run: Run, store: FileStore) -> None:
    """Upload a run; readers see no run until the upload is complete.

    Raises:
        StorageError: A file can't be read or written.
    """
    _each(list(run.files), lambda name: store.write(name, (run.path / name).read_bytes()))
    store.write(MANIFEST, (run.path / MANIFEST).read_bytes())


class RunReader(Protocol):
    """Storage that a run can be read from, such as a `FileStore`."""

    uri: str

    def exists(self, name: str) -> bool:
        """Return whether a file of that name exists."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        ...


def fetch_run(uri: str, local: Path) -> Run:
    """Download a run into a directory, unless it is there already, check it and open it.

    Args:
        uri: URI of the run.
        local: Directory to download to; another run in it is replaced.

    Raises:
        RunError: There is no run at the URI, or the run is damaged.
        StorageError: The run can't be read.
    """
    return fetch_from(open_store(uri), local)


def fetch_from(reader: RunReader, local: Path, progress: TrainingProgress | None = None) -> Run:
    """Download a run from any reader into a directory, unless it is there already, check it and open it.

    Raises:
        RunError: The reader has no run, or the run is damaged.
        StorageError: The run can't be read.
    """
    uri = reader.uri
    if not reader.exists(MANIFEST):
        raise RunError(
            f"{uri} is not a run: it has no {MANIFEST}", hint="train a model (eaves train), or name another URI"
        )
    manifest = reader.read(MANIFEST)
    if (local / MANIFEST).is_file() and (local / MANIFEST).read_bytes() == manifest:
        return open_run(local)
    shutil.rmtree(local, ignore_errors=True)
    names = _manifest_files(uri, manifest)
    local.mkdir(parents=True)
    with (progress or SilentProgress()).phase("Downloading the run", len(names)) as step:

        def download(name: str) -> None:
            file = (local / name).resolve()
            if not file.is_relative_to(local.resolve()):
                raise RunError(f"{uri}/{MANIFEST} names a file outside the run: {name}", hint="train the model again")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(reader.read(name))
            step()

        _each(names, download)
    (local / MANIFEST).write_bytes(manifest)
    return open_run(local)


def find_fingerprint(manifest: bytes) -> str | None:
    """Return the fingerprint in a `run.json`; None when it has none."""
    try:
        values = json.loads(manifest)
        return str(values["fingerprint"]) or None
    except (ValueError, KeyError, TypeError):
        return None


def _manifest_files(uri: str, manifest: bytes) -> list[str]:
    try:
        return [str(name) for name in json.loads(manifest)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{uri}/{MANIFEST} can't be read: {error}", hint="train the model again") from error


def _each(names: list[str], action: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for _ in pool.map(action, names):
            pass

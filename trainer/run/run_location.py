"""Defines where a training works and where it writes its run, on this machine or at a URI.

A run for a URI is built in a local folder and then uploaded, `run.json` last. The checkpoints must outlive this
machine, so they are written to the URI during training.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from eaves.errors import RunError
from trainer.progress import SILENT, TrainingProgress
from trainer.run.run import (
    CHECKPOINTS,
    MANIFEST,
    TAKEN_HINT,
    Run,
    build_name,
    check_output,
    checkpoints_beside,
    open_run,
)
from trainer.storage import FileStore, is_uri, open_store

FEATURES = "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLocation:
    """Location of a run.

    Attributes:
        local: Directory of the run on this machine.
        cache: Folder on this machine that is kept between trainings; it may be removed at any time.
        uri: URI that the run is uploaded to; None if the run stays in `local`.
    """

    local: Path
    cache: Path
    uri: str | None = None

    def find(self, fingerprint: str) -> Run | None:
        """Return the run of the same settings and data that exists already; None when there is none.

        Raises:
            RunError: The location holds another run or something else.
            StorageError: The location can't be read.
        """
        check_output(self.local)
        manifest, taken = self.local / MANIFEST, f"{self.uri or self.local} holds a run of other images or settings"
        built = manifest.is_file() and find_fingerprint(manifest.read_bytes()) == fingerprint
        if self.uri is None:
            if manifest.is_file() and not built:
                raise RunError(taken, hint=TAKEN_HINT)
            return open_run(self.local) if built else None
        store = open_store(self.uri)
        if store.exists(MANIFEST):
            if find_fingerprint(store.read(MANIFEST)) != fingerprint:
                raise RunError(taken, hint=TAKEN_HINT)
            return fetch_run(store, self.local)
        if built:  # the process was killed before or during the upload
            run = open_run(self.local)
            self.finish(run)
            return run
        shutil.rmtree(self.local, ignore_errors=True)
        return None

    def run(self) -> FileStore:
        """Return the storage of the run."""
        return open_store(self.uri or self.local)

    def unfinished(self) -> FileStore:
        """Return the storage of the checkpoints of the unfinished run."""
        return open_store(checkpoints_beside(self.local)) if self.uri is None else open_store(self.uri).at(CHECKPOINTS)

    def beside(self) -> FileStore:
        """Return the storage of the folder or URI above this run, in which other runs may be."""
        return open_store(self.uri.rpartition("/")[0] if self.uri else self.local.parent)

    def finish(self, run: Run) -> None:
        """Upload the run when it has a URI; then remove its checkpoints there."""
        if self.uri is None:
            return
        store = open_store(self.uri)
        publish(run, store)
        # Pointers are deleted before the files they point to, so that a kill in between leaves no dangling pointer.
        for name in sorted(store.list(f"{CHECKPOINTS}/"), key=lambda name: not name.endswith(".json")):
            store.delete(name)


def build_location(output: str | Path, cache: Path | None) -> RunLocation:
    """Build the location of a run.

    Args:
        output: Path or URI of the run.
        cache: Folder that is kept between trainings; None means `.cache` beside a local run, or `~/.cache/eaves` for a
            run at a URI.
    """
    if not is_uri(output):
        local = Path(output).absolute()
        return RunLocation(local=local, cache=cache or local.parent / ".cache")
    uri, kept = str(output).rstrip("/"), cache or Path.home() / ".cache" / "eaves"
    folder = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return RunLocation(local=kept / "runs" / folder / build_name(uri.rpartition("/")[2]), cache=kept, uri=uri)


MAX_TRANSFERS = 8
"""Maximum number of files that are transferred at the same time."""


def publish(run: Run, store: FileStore) -> None:
    """Upload a run; readers see no run until the upload is complete.

    Raises:
        StorageError: A file can't be read or written.
    """
    _each(list(run.files), lambda name: store.write(name, (run.path / name).read_bytes()))
    store.write(MANIFEST, (run.path / MANIFEST).read_bytes())


def fetch_run(store: FileStore, local: Path, progress: TrainingProgress = SILENT) -> Run:
    """Download a run into a directory, unless it is there already, check it and open it.

    Raises:
        RunError: The storage has no run, or the run is damaged.
        StorageError: The run can't be read.
    """
    uri = store.uri
    if not store.exists(MANIFEST):
        raise RunError(
            f"{uri} is not a run: it has no {MANIFEST}", hint="train a model (eaves train), or name another URI"
        )
    manifest = store.read(MANIFEST)
    if (local / MANIFEST).is_file() and (local / MANIFEST).read_bytes() == manifest:
        return open_run(local)
    shutil.rmtree(local, ignore_errors=True)
    try:
        names = [str(name) for name in json.loads(manifest)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{uri}/{MANIFEST} can't be read: {error}", hint="train the model again") from error
    local.mkdir(parents=True)
    with progress.phase("Downloading the run", len(names)) as step:

        def download(name: str) -> None:
            file = (local / name).resolve()
            if not file.is_relative_to(local.resolve()):
                raise RunError(f"{uri}/{MANIFEST} names a file outside the run: {name}", hint="train the model again")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(store.read(name))
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


def _each(names: list[str], action: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(max_workers=MAX_TRANSFERS) as pool:
        for _ in pool.map(action, names):
            pass

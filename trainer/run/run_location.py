"""Where a training works and leaves its run: beside its output on this machine, or at a URI.

A run for a URI is built in a local folder and uploaded whole, `run.json` last. What must outlive this machine, the
checkpoints and the features that several pods share, is written to the URI as it is made.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from eaves.errors import RunError
from trainer.run.run import (
    CHECKPOINTS,
    MANIFEST,
    TAKEN,
    Run,
    build_name,
    check_output,
    checkpoints_beside,
    checkpoints_of,
    open_run,
)
from trainer.run.run_upload import fetch_run, find_fingerprint, publish
from trainer.storage import FileStore, is_uri, open_store

FEATURES = "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLocation:
    """Where a run goes.

    Attributes:
        local: The run's directory on this machine.
        cache: A folder on this machine that is kept between trainings; it may be removed at any time.
        uri: Where the run is uploaded to; None: `local` is its place.
    """

    local: Path
    cache: Path
    uri: str | None = None

    def find(self, fingerprint: str) -> Run | None:
        """The run that is there already, of the same settings and data; None when there is none.

        Raises:
            RunError: Another run is there, or something else.
            StorageError: The place can't be read.
        """
        check_output(self.local)
        built = self._built(fingerprint)
        if self.uri is None:
            return built
        store = open_store(self.uri)
        if not store.exists(MANIFEST):
            if built is not None:  # killed before or while it was uploaded
                self.finish(built)
                return built
            shutil.rmtree(self.local, ignore_errors=True)
            return None
        if find_fingerprint(store.read(MANIFEST)) != fingerprint:
            raise RunError(f"{self.uri} holds a run of other images or settings", hint=TAKEN)
        return fetch_run(self.uri, self.local)

    def run(self) -> FileStore:
        """Where the run is, once it is."""
        return open_store(self.uri or self.local)

    def unfinished(self) -> FileStore:
        """Where the checkpoints are of the run that is being made, or was until its process was killed."""
        return open_store(checkpoints_beside(self.local)) if self.uri is None else open_store(self.uri).at(CHECKPOINTS)

    def beside(self) -> FileStore:
        """Where this run and others are."""
        return open_store(self.uri.rpartition("/")[0] if self.uri else self.local.parent)

    def checkpoints(self, work: Path) -> FileStore:
        """Where the checkpoints go of the run that is made in `work`."""
        return open_store(checkpoints_of(work)) if self.uri is None else open_store(self.uri).at(CHECKPOINTS)

    def settings(self) -> FileStore | None:
        """Where the settings of a run on this machine are kept while it is not complete; None for one at a URI."""
        return open_store(checkpoints_beside(self.local)) if self.uri is None else None

    def features(self, wanted: str, *, shared: bool) -> FileStore:
        """Where features are kept.

        Args:
            wanted: A folder or URI from the settings; empty: the place's own.
            shared: Whether other machines must see them.
        """
        if wanted:
            return open_store(wanted)
        return open_store(self.uri).at(FEATURES) if self.uri and shared else open_store(self.cache / FEATURES)

    def finish(self, run: Run) -> None:
        """Upload the run when its place is a URI; then remove there what only an unfinished one needs."""
        if self.uri is None:
            return
        store = open_store(self.uri)
        publish(run, store)
        # Pointers go before what they point to: a kill meanwhile leaves nothing that points into the void.
        left = [name for folder in (CHECKPOINTS, FEATURES) for name in store.list(f"{folder}/")]
        for name in sorted(left, key=lambda name: not name.endswith(".json")):
            store.delete(name)

    def _built(self, fingerprint: str) -> Run | None:
        manifest = self.local / MANIFEST
        if not manifest.is_file():
            return None
        if find_fingerprint(manifest.read_bytes()) == fingerprint:
            return open_run(self.local)
        if self.uri is None:
            raise RunError(f"{self.local} holds a run of other images or settings", hint=TAKEN)
        return None


def build_location(output: str | Path, cache: Path | None) -> RunLocation:
    """The place of a run.

    Args:
        output: A path or a URI.
        cache: The folder to keep things in; None: `.cache` beside a local run, `~/.cache/eaves` for one at a URI.
    """
    if not is_uri(output):
        local = Path(output).absolute()
        return RunLocation(local=local, cache=cache or local.parent / ".cache")
    uri, kept = str(output).rstrip("/"), cache or Path.home() / ".cache" / "eaves"
    folder = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return RunLocation(local=kept / "runs" / folder / build_name(uri.rpartition("/")[2]), cache=kept, uri=uri)

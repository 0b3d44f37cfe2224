"""Opens the runs and artifacts that a platform names, and keeps what it read last."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from eaves.artifact import Artifact, open_artifact
from eaves.console.backend import Backend, ModelLocation
from eaves.console.catalog.directories import foreign_content, read_below
from trainer.run.run import MANIFEST

if TYPE_CHECKING:
    from eaves.console.catalog.runs.files import RunFiles

KEPT_RUNS = 2
"""Maximum number of runs that are kept in memory, as many as a comparison needs. A page of photos asks for the same run
again for each photo, and a run of 100,000 held-out images takes about 60 MB."""
KEPT_ARTIFACTS = 8

T = TypeVar("T")


class Catalog:
    """The runs and artifacts of a platform. It may be used by several threads.

    Args:
        backend: The platform.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._runs: _Newest[RunFiles] = _Newest(KEPT_RUNS)
        self._artifacts = _Newest[Artifact](KEPT_ARTIFACTS)

    def locations(self, kind: str) -> list[ModelLocation]:
        """Return the places of all runs or all artifacts whose name can be part of an address.

        Args:
            kind: `run` or `artifact`.
        """
        found = (location for location in self._backend.models() if location.kind == kind)
        return [
            one for one in found if one.name.isprintable() and "/" not in one.name and one.name not in ("", ".", "..")
        ]

    def find(self, kind: str, name: str) -> ModelLocation | None:
        """Return the place of one run or artifact; None when the platform doesn't name it."""
        return next((location for location in self.locations(kind) if location.name == name), None)

    def run(self, location: ModelLocation) -> RunFiles:
        """Load a run.

        Raises:
            EavesError: It can't be read.
        """
        from eaves.console.catalog.runs.files import load_files

        origin = f"the run {location.name}"
        return self._runs.get(location.path / "run.json", lambda: load_files(location.path, origin))

    def artifact(self, location: ModelLocation) -> Artifact:
        """Open an artifact; its files' digests are not computed.

        Raises:
            EavesError: It can't be read.
        """
        with foreign_content(f"the artifact {location.name}"):
            return self._artifacts.get(location.path / "manifest.json", lambda: open_artifact(location.path))

    def run_of(self, artifact: Artifact) -> ModelLocation | None:
        """Return the run that an artifact was converted from; None when it isn't among the platform's runs."""
        wanted = artifact.manifest.source
        if wanted.route != "run" or not wanted.digest:
            return None
        for location in self.locations("run"):
            content = read_below(location.path, MANIFEST)
            if content is not None and hashlib.sha256(content).hexdigest() == wanted.digest:
                return location
        return None


class _Newest(Generic[T]):
    """The values that were loaded last, by the file that they depend on.

    Args:
        kept: Maximum number of values.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._values: OrderedDict[tuple[str, int, int, int], T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file: Path, load: Callable[[], T]) -> T:
        """Return the value for a file, and load it when the file has changed."""
        try:
            status = file.stat()
        except OSError:
            return load()  # raises an error that says what is missing
        key = str(file), status.st_ino, status.st_mtime_ns, status.st_size
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = load()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._kept:
                self._values.popitem(last=False)
        return value

"""Opens the runs and artifacts that a platform names, keeps what it read last, and lists them."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from eaves.artifact import FP32, Artifact, open_artifact
from eaves.console.backend import Backend, ModelLocation
from eaves.console.catalog.run_files import RunFiles, foreign_content, load_files, read_below
from eaves.console.catalog.run_page import describe_accuracy, describe_level, parse_time
from eaves.console.model.words import clean_text, describe_size
from eaves.errors import EavesError
from trainer.run.run import MANIFEST

KEPT_RUNS, KEPT_ARTIFACTS = 2, 8
"""Maximum number of runs and of artifacts that are kept in memory. A page of photos asks for the same run again for
each photo, and a run of 100,000 held-out images takes about 60 MB."""
SHOWN = 100
"""Maximum number of artifacts and of runs in the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """An artifact or a run in the list.

    Attributes:
        location: Its name, kind and directory.
        title: Name and version of the model.
        note: Precision of an artifact, or accuracy of a run, with the evidence.
        badge: State in a few words.
        size: Size of an artifact as text.
        created: Time when a run was written, Unix seconds; None when it isn't known.
        run: Name of the run that an artifact was converted from; empty when it isn't here.
        is_warning: Whether people should read `note` before they deploy the artifact.
        fault: Reason why it can't be shown, empty when it can.
    """

    location: ModelLocation
    title: str = ""
    note: str = ""
    badge: str = ""
    size: str = ""
    created: float | None = None
    run: str = ""
    is_warning: bool = False
    fault: str = ""


class Catalog:
    """The runs and artifacts of a platform. It may be used by several threads.

    Args:
        backend: The platform.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def locations(self, kind: str) -> list[ModelLocation]:
        """Return the places of each `run` or `artifact` whose name can be part of an address."""
        found = (location for location in self._backend.models() if location.kind == kind)
        return [
            one for one in found if one.name.isprintable() and "/" not in one.name and one.name not in ("", ".", "..")
        ]

    def run(self, location: ModelLocation) -> RunFiles:
        """Load a run; an EavesError when it can't be read."""
        origin = f"the run {location.name}"
        return _load_run(location.path, origin, _version(location.path / MANIFEST))

    def artifact(self, location: ModelLocation) -> Artifact:
        """Open an artifact without computing its files' digests; an EavesError when it can't be read."""
        with foreign_content(f"the artifact {location.name}"):
            return _open_artifact(location.path, _version(location.path / "manifest.json"))

    def list_artifacts(self) -> list[ModelRow]:
        """Return the rows of artifacts: those that are served first, then the newest."""
        runs = {
            hashlib.sha256(read_below(run.path, MANIFEST) or b"").hexdigest(): run.name for run in self.locations("run")
        }
        rows = [self._build_artifact(location, runs) for location in self.locations("artifact")[:SHOWN]]
        return sorted(rows, key=lambda row: (not row.location.functions, not row.location.previous_of))

    def list_runs(self) -> list[ModelRow]:
        """Return the rows of runs, the newest first."""
        rows = [self._build_run(location) for location in self.locations("run")[:SHOWN]]
        return sorted(rows, key=lambda row: row.created or 0.0, reverse=True)

    def _build_artifact(self, location: ModelLocation, runs: dict[str, str]) -> ModelRow:
        try:
            artifact = self.artifact(location)
            with foreign_content(f"the artifact {location.name}"):
                found = artifact.manifest.quantisation
                run = runs.get(artifact.manifest.source.digest, "")
        except EavesError as error:
            return ModelRow(location=location, fault=error.message[:300])
        badge = f"serves {', '.join(location.functions)}" if location.functions else ""
        return ModelRow(
            location=location,
            title=f"{artifact.manifest.name} {artifact.manifest.version}",
            note=clean_text(f"{artifact.manifest.precision}: {found.reason}", 300),
            badge=badge or ("previous deployment" if location.previous_of else ""),
            size=describe_size(artifact.size_bytes),
            run=run,
            is_warning=found.asked != FP32 and not (found.shipped and found.evidence.passed),
        )

    def _build_run(self, location: ModelLocation) -> ModelRow:
        try:
            files = self.run(location)
            kind = str(files.run.verdict.get("kind", ""))
        except (EavesError, AttributeError) as error:
            message = error.message if isinstance(error, EavesError) else str(error)
            return ModelRow(location=location, fault=message[:300])
        return ModelRow(
            location=location,
            title=clean_text(f"{files.run.name} {files.run.version}", 200),
            note=describe_accuracy(files.accuracy),
            badge=describe_level(kind),
            created=parse_time(files.run.created),
        )


@functools.lru_cache(maxsize=KEPT_RUNS)
def _load_run(path: Path, origin: str, _: tuple[int, ...]) -> RunFiles:
    return load_files(path, origin)


@functools.lru_cache(maxsize=KEPT_ARTIFACTS)
def _open_artifact(path: Path, _: tuple[int, ...]) -> Artifact:
    return open_artifact(path)


def _version(file: Path) -> tuple[int, ...]:
    """Return a value that changes with a file, so that what was read of it is used again only until then."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size

"""Runs and artifacts on this machine that the console can show."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eaves.console.backend import ModelLocation
from eaves.local.state import StateDirectory

RUN, ARTIFACT = "run", "artifact"
MARKERS = {RUN: "run.json", ARTIFACT: "manifest.json"}
"""File that is written last into a run and into an artifact: a directory that has it is complete."""
FOLDERS = ("runs", "artifacts")
"""Folders of a project in which trainings and conversions write."""
MAX_LOCATIONS = 200
"""Maximum number of locations; the newest are shown, and those that a function serves always."""


@dataclass(slots=True)
class _Found:
    """A directory, and what is known of it."""

    kind: str
    changed_at: float
    functions: list[str] = field(default_factory=list)
    previous_of: list[str] = field(default_factory=list)


def list_models(state: StateDirectory, project: Path) -> list[ModelLocation]:
    """Return the deployed artifacts, those of previous deployments, and the runs and artifacts of the project.

    The directories that lie beside a deployed artifact are searched too, as a project may keep its artifacts elsewhere.

    Args:
        state: State directory of the platform.
        project: Directory in which `eaves up` was started.

    Returns:
        Locations, the newest first; at most `MAX_LOCATIONS`.
    """
    found: dict[Path, _Found] = {}
    deployed = [(name, app.function.artifact, False) for name, app in state.read_specs()[0].items()]
    deployed += [(name, app.function.artifact, True) for name, app in state.read_previous().items()]
    beside = {artifact.parent for _, artifact, _ in deployed}
    for folder in (*(project / name for name in FOLDERS), *sorted(beside)):
        for path, kind in _search(folder):
            _add(found, path, kind)
    for name, artifact, is_previous in deployed:
        if entry := _add(found, artifact, ARTIFACT):
            (entry.previous_of if is_previous else entry.functions).append(name)
    wanted = sorted(found.items(), key=lambda one: (not (one[1].functions or one[1].previous_of), -one[1].changed_at))[
        :MAX_LOCATIONS
    ]
    names = Counter((entry.kind, path.name) for path, entry in wanted)
    return [
        ModelLocation(
            name=path.name if names[entry.kind, path.name] == 1 else f"{path.name}-{_digest(path)}",
            kind=entry.kind,
            path=path,
            functions=tuple(sorted(entry.functions)),
            previous_of=tuple(sorted(entry.previous_of)),
        )
        for path, entry in sorted(wanted, key=lambda one: (-one[1].changed_at, one[0]))
    ]


def _search(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the complete runs and artifacts directly below a folder, also those that links name."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            kinds = (kind for kind, marker in MARKERS.items() if (path / marker).is_file())
            if not path.name.startswith(".") and (kind := next(kinds, "")):
                yield path, kind


def _add(found: dict[Path, _Found], path: Path, kind: str) -> _Found | None:
    """Return the entry of a directory, which is added when it is missing; None when the directory is gone."""
    with contextlib.suppress(OSError, RuntimeError):  # a loop of links
        resolved = path.resolve()
        changed_at = (resolved / MARKERS[kind]).stat().st_mtime
        return found.setdefault(resolved, _Found(kind=kind, changed_at=changed_at))
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:8]

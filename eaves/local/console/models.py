"""Runs and artifacts on this machine that the console can show."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from eaves.console.backend import ModelLocation
from eaves.local.specs import LocalApp
from eaves.local.state import StateDirectory

RUN, ARTIFACT = "run", "artifact"
MARKERS = {RUN: "run.json", ARTIFACT: "manifest.json"}
"""File that is written last into a run and into an artifact: a directory that has it is complete."""
FOLDERS = ("runs", "artifacts")
"""Folders of a project in which trainings and conversions write."""
MAX_LOCATIONS = 200
"""Maximum number of locations; the newest are shown, and those that a function serves always."""


def list_models(state: StateDirectory, project: Path) -> list[ModelLocation]:
    """Return the deployed artifacts, those of previous deployments, and the runs and artifacts of the project.

    The directories that lie beside a deployed artifact are searched too, as a project may keep its artifacts elsewhere.

    Args:
        state: State directory of the platform.
        project: Directory in which `eaves up` was started.

    Returns:
        Locations, the newest first; at most `MAX_LOCATIONS`.
    """
    apps, before = state.read_specs()[0], state.read_previous()
    served, previous = _list_functions(apps), _list_functions(before)
    deployed = [app.function.artifact for app in (*apps.values(), *before.values())]
    folders = [*(project / folder for folder in FOLDERS), *sorted({artifact.parent for artifact in deployed})]
    found = _find_models([*deployed, *(path for folder in folders for path in _list_folder(folder))])
    newest = sorted(found, key=lambda path: (path not in served and path not in previous, -found[path][1]))
    shown = sorted(newest[:MAX_LOCATIONS], key=lambda path: (-found[path][1], path))
    names = Counter((found[path][0], path.name) for path in shown)
    return [
        ModelLocation(
            name=path.name if names[found[path][0], path.name] == 1 else f"{path.name}-{_digest(path)}",
            kind=found[path][0],
            path=path,
            functions=served.get(path, ()),
            previous_of=previous.get(path, ()),
        )
        for path in shown
    ]


def _list_functions(apps: Mapping[str, LocalApp]) -> dict[Path, tuple[str, ...]]:
    """Return the names of the functions by the artifact that they serve."""
    found: defaultdict[Path, tuple[str, ...]] = defaultdict(tuple)
    for name, app in sorted(apps.items()):
        with contextlib.suppress(OSError, RuntimeError):  # a loop of links
            found[app.function.artifact.resolve()] += (name,)
    return found


def _list_folder(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    return []


def _find_models(paths: Iterable[Path]) -> dict[Path, tuple[str, float]]:
    """Return the kind and the time of the last change, Unix seconds, of each complete run and artifact."""
    found: dict[Path, tuple[str, float]] = {}
    for path in paths:
        for kind, marker in MARKERS.items():
            with contextlib.suppress(OSError, RuntimeError):
                found.setdefault(path.resolve(), (kind, (path / marker).stat().st_mtime))
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()[:8]

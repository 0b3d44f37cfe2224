"""`runs/latest` and `artifacts/latest`: symbolic links to the run and the artifact that were finished last."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import click

from eaves.errors import ConfigError, Fault

LATEST = "latest"
RUN, ARTIFACT = "run.json", "manifest.json"
"""Names of the files that are written last into a run and into an artifact. A directory that has its file is
complete."""


def newest(folder: Path, marker: str) -> Path | None:
    """Return the newest directory below `folder` that holds the marker file; None when there is none.

    Hidden directories are ignored, because unfinished runs and artifacts are built in them, and so are links.

    Args:
        folder: Path of the folder with runs or artifacts.
        marker: `RUN` or `ARTIFACT`.
    """
    found = [path for path in folder.glob(f"[!.]*/{marker}") if not path.parent.is_symlink()]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.parent.name)).parent if found else None


def update_latest(folder: Path, marker: str) -> None:
    """Make `latest` in a folder point to the directory that was finished last, in one step.

    What a person has given this name is left alone: a file, a folder, or a link to another place.

    Args:
        folder: Path of the folder with runs or artifacts.
        marker: `RUN` or `ARTIFACT`.
    """
    name, target = folder / LATEST, newest(folder, marker)
    is_link = name.is_symlink()
    if target is None or (name.exists() and not is_link) or (is_link and len(name.readlink().parts) != 1):
        return
    staging = folder / f".{LATEST}.{os.urandom(6).hex()}.tmp"
    with contextlib.suppress(OSError):  # a file system without symbolic links
        staging.symlink_to(target.name)
        staging.rename(name)


def find_latest(path: Path) -> Path:
    """Return the directory that a link named `latest` points to, whose name people know; any other path as it is."""
    return path.parent / path.readlink() if path.name == LATEST and path.is_symlink() else path


def refuse_latest(path: Path, origin: str) -> None:
    """Refuse to write a new run or artifact into a directory named `latest`, the name of the link to the newest.

    Args:
        path: Directory that a run or an artifact is to be written into.
        origin: Flag that names the directory, for the message.

    Raises:
        ConfigError: When the directory is named `latest`.
    """
    if path.name == LATEST:
        message = f"{LATEST} is reserved for the link to the newest directory; name another directory"
        raise ConfigError([Fault(origin=origin, path="", message=message)])


class ModelPath(click.Path):
    """The path of a run, an artifact or a model file on the command line; `latest` becomes the directory it names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Replace `latest` by the directory that it stands for, and check the path as `click.Path` does."""
        return super().convert(find_latest(Path(os.fsdecode(value))), param, ctx)

"""Access to the newest run and the newest artifact: `runs/latest` and `artifacts/latest`.

`latest` is a symbolic link to the directory that was finished last. A command that is killed before it updates the link
leaves it at an older directory; the next command that reads or updates it corrects it. Where the link can't be made,
commands still accept the name `latest` and find the directory themselves.
"""

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
FOLDERS = ("runs", "artifacts")
"""Folders in which Eaves makes the link `latest`."""


def newest(folder: Path, marker: str) -> Path | None:
    """Return the newest directory below `folder` that holds the marker file; None when there is none.

    Hidden directories are ignored, because unfinished runs and artifacts are built in them. The link `latest` is
    ignored as well.

    Args:
        folder: Path of the folder with runs or artifacts.
        marker: `RUN` or `ARTIFACT`.
    """
    found: list[tuple[int, str, Path]] = []
    for path in folder.glob(f"[!.]*/{marker}"):
        if not (path.parent.name == LATEST and path.parent.is_symlink()):
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                found.append((path.stat().st_mtime_ns, path.parent.name, path.parent))
    return max(found)[2] if found else None


def update_latest(folder: Path, marker: str) -> None:
    """Make `latest` in a folder point to the directory that was finished last, in one step.

    What a person has given this name is left alone.

    Args:
        folder: Path of the folder with runs or artifacts.
        marker: `RUN` or `ARTIFACT`.
    """
    name, target = folder / LATEST, newest(folder, marker)
    if target is None or (os.path.lexists(name) and _is_own(name)):
        return
    staging = folder / f".{LATEST}.{os.urandom(6).hex()}.tmp"
    with contextlib.suppress(OSError):  # a file system without symbolic links, or a folder that can't be written
        if not name.is_symlink() or name.readlink() != Path(target.name):
            staging.symlink_to(target.name)
            staging.rename(name)


def find_latest(path: Path) -> Path:
    """Return the directory that `runs/latest` or `artifacts/latest` stands for; any other path as it is.

    A path with that name is also returned as it is when a person, and not Eaves, made the file, folder or link.

    Args:
        path: A path that a person named.
    """
    if path.name != LATEST or path.absolute().parent.name not in FOLDERS or (os.path.lexists(path) and _is_own(path)):
        return path
    for marker in (RUN, ARTIFACT):
        if (found := newest(path.parent, marker)) is not None:
            update_latest(path.parent, marker)
            return found
    return path


def _is_own(name: Path) -> bool:
    """Return whether a person made `latest`: Eaves only makes links whose target is a directory beside the link."""
    try:
        return len(name.readlink().parts) != 1
    except OSError:
        return True


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

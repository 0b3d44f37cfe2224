"""Access to the newest run and the newest artifact: `runs/latest` and `artifacts/latest`.

`latest` is a symbolic link to the directory that was finished last. A command that is killed before it updates the link
leaves it at an older directory; the next command that reads or updates it corrects it. On a file system without
symbolic links, commands still accept the name `latest` and find the directory themselves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
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
_ATTEMPTS = 10


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
        if not _is_link(path.parent):
            with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                found.append((path.stat().st_mtime_ns, path.parent.name, path.parent))
    return max(found)[2] if found else None


def update_latest(folder: Path, marker: str, *, link: Callable[[Path, Path], None] = os.symlink) -> str:
    """Make `latest` in a folder point to the directory that was finished last.

    Args:
        folder: Path of the folder with runs or artifacts.
        marker: `RUN` or `ARTIFACT`.
        link: Function that makes a symbolic link, with the first two arguments of `os.symlink`.

    Returns:
        A sentence on why the link can't be made; empty when the link is right, or when an earlier call has returned the
            sentence.
    """
    name = folder / LATEST
    for _ in range(_ATTEMPTS):
        target = newest(folder, marker)
        if target is None or _points_to(name, target):
            return ""
        if os.path.lexists(name) and _is_own(name):
            return f"{name} was not made by Eaves, so it is not changed to name the newest: {target}"
        try:
            _replace_link(name, Path(target.name), link)
        except OSError as error:
            first = sum(not _is_link(path.parent) for path in folder.glob(f"[!.]*/{marker}")) == 1
            reason = error.strerror or str(error)
            return f"the link {name} can't be made: {reason}; eaves commands accept the name anyway" if first else ""
    return ""  # others finish faster than links are made; the last of them makes it right


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
    """Return whether the file, folder or link named `latest` was made by a person and not by Eaves.

    Eaves only makes links whose target is a directory beside the link.
    """
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
    """The path of a run, an artifact or a model file on the command line; `latest` becomes the directory it names.

    Args:
        options: Keyword arguments of `click.Path`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Replace `latest` by the directory that it stands for, and check the path as `click.Path` does."""
        return super().convert(find_latest(Path(os.fsdecode(value))), param, ctx)


def _is_link(path: Path) -> bool:
    return path.name == LATEST and path.is_symlink()


def _points_to(name: Path, target: Path) -> bool:
    try:
        return name.readlink() == Path(target.name)
    except OSError:
        return False


def _replace_link(name: Path, target: Path, link: Callable[[Path, Path], None]) -> None:
    """Replace a link in one step, so that a reader finds either the former target or the new one.

    Raises:
        OSError: When the file system has no symbolic links, or when the folder can't be written.
    """
    staging = name.with_name(f".{name.name}.{os.urandom(6).hex()}.tmp")
    try:
        link(target, staging)
        staging.rename(name)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise

"""File in which `eaves sources try` stores the image that it took."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.base.files import write_atomically
from eaves.errors import ConfigError, Fault
from eaves.sources.trial.findings import SourceTrial

SUFFIXES = {"image/png": ".png", "image/webp": ".webp", "image/bmp": ".bmp", "image/tiff": ".tif", "image/gif": ".gif"}
IN_FILES = ("folder", "replay")
"""Kinds of sources whose images are files already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """The file of an image.

    Attributes:
        path: Path of the file.
        replaced: Whether the file replaced an older one.
    """

    path: Path
    replaced: bool = False


def save_image(trial: SourceTrial, settings: Any, target: Path | None) -> SavedImage | None:
    """Write the image of a trial to a file; return None when it isn't written.

    Without a target the file is a new one in the current folder, and the image of a folder or archive isn't written.

    Args:
        trial: Trial with an event.
        settings: Settings of the source's kind.
        target: Path of the file; None for the default.

    Raises:
        ConfigError: When the target is in the folder that the source watches, so that it would become an event.
        OSError: When the file can't be written.
    """
    event = trial.event
    if event is None or not event.data or (target is None and trial.kind in IN_FILES):
        return None
    path = target or _find_free(trial.name, SUFFIXES.get(event.datacontenttype or "", ".jpg"))
    if trial.kind == "folder" and path.absolute().is_relative_to(Path(settings.path).absolute()):
        message = f"must not be in the folder that the source watches (got {path})"
        raise ConfigError([Fault(origin="--save", path="", message=message)])
    replaced = path.exists()
    write_atomically(path, event.data, durability="none", mode=None)
    return SavedImage(path=path, replaced=replaced)


def _find_free(name: str, suffix: str) -> Path:
    """Return NAME.jpg in the current folder, or NAME-2.jpg and so on, the first name that no file has."""
    names = itertools.chain([f"{name}{suffix}"], (f"{name}-{number}{suffix}" for number in itertools.count(2)))
    return next(Path(one) for one in names if not Path(one).exists())

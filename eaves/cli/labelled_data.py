"""Code that commands on labelled images share: finding images, `--page`, progress bars, TensorFlow's variables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.shared_options import FILE

if TYPE_CHECKING:
    from trainer.data.listing import DataFault
    from trainer.progress import TrainingProgress

Command = TypeVar("Command", bound=Callable[..., Any])
CACHE = Path("runs/.cache")
"""Folder in which trainings keep labelled images that they downloaded or unpacked."""


def find_labelled_data(place: str, progress: TrainingProgress) -> tuple[Path, tuple[DataFault, ...]]:
    """Find the local folder or manifest of labelled images; download and unpack it first when needed, as training does.

    What is downloaded or unpacked is kept in `runs/.cache` when this folder is a project's, else in `~/.cache/eaves`.

    Args:
        place: Path or URI of a folder, a manifest or an archive.
        progress: Receiver of the progress of every download.

    Returns:
        path: The local folder or manifest; it may not exist when `place` is a path.
        faults: Files that were left out, each with the reason.

    Raises:
        DatasetError: When nothing is at the URI, or when the archive isn't safe to unpack.
        StorageError: When the URI can't be reached, or when the disk is full.
    """
    from trainer.data.reading import find_local
    from trainer.settings import DataSettings

    return find_local(DataSettings(path=place), cache=find_image_cache(), progress=progress)


def find_image_cache() -> Path:
    """Return the folder for images that are downloaded or unpacked: the project's, else that of the user."""
    in_project = CACHE.parent.is_dir() or Path(FILE).is_file()
    return CACHE if in_project else Path.home() / ".cache" / "eaves"


def page_option(text: str) -> Callable[[Command], Command]:
    """Return a decorator that adds `--page`, the HTML page that a command also writes.

    Args:
        text: Help text of the option.
    """
    return click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help=text)


def build_bars() -> TrainingProgress:
    """Return a progress display with bars on stderr when stderr is a terminal, else one that shows nothing."""
    from trainer.progress import SilentProgress, build_progress

    return build_progress(sys.stderr) if sys.stderr.isatty() else SilentProgress()


def prepare_tensorflow() -> None:
    """Set the environment variables that TensorFlow and Keras read at import, and silence their notices."""
    from trainer.tensorflow_notices import quiet_libraries
    from trainer.train import build_environment

    for variable, value in build_environment().items():
        os.environ.setdefault(variable, value)
    quiet_libraries()

"""What commands on labelled images share: finding the images, the option for a page, bars, TensorFlow's environment."""

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
"""Where trainings in this project keep what they download and unpack."""


def find_labelled_data(place: str, progress: TrainingProgress) -> tuple[Path, tuple[DataFault, ...]]:
    """The local folder or manifest of labelled images, downloaded and unpacked if need be, as training does.

    What is downloaded or unpacked is kept in `runs/.cache` when this folder is a project's, else in `~/.cache/eaves`.

    Args:
        place: Path or URI of a folder, a manifest or an archive.
        progress: Told about every file that is downloaded.

    Returns:
        path: The local folder or manifest; it may not exist when `place` is a path.
        faults: Files that were left out on the way.

    Raises:
        DatasetError: Nothing at the URI, or an archive that isn't safe.
        StorageError: A URI that can't be reached, or a full disk.
    """
    from trainer.data.reading import find_local
    from trainer.settings import DataSettings

    in_project = CACHE.parent.is_dir() or Path(FILE).is_file()
    cache = CACHE if in_project else Path.home() / ".cache" / "eaves"
    return find_local(DataSettings(path=place), cache=cache, progress=progress)


def page_option(text: str) -> Callable[[Command], Command]:
    """`--page`: the HTML page that a command also writes.

    Args:
        text: Help of the option.
    """
    return click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help=text)


def build_bars() -> TrainingProgress:
    """Bars on stderr where that is a terminal; nothing elsewhere."""
    from trainer.progress import SilentProgress, build_progress

    return build_progress(sys.stderr) if sys.stderr.isatty() else SilentProgress()


def prepare_tensorflow() -> None:
    """Set what TensorFlow and Keras read from the environment when they are imported, and quiet their notices."""
    from trainer.tensorflow_notices import quiet_libraries
    from trainer.train import ENVIRONMENT

    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    quiet_libraries()

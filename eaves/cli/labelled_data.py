"""Labelled images that a command is given: finding them, and progress bars."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eaves.cli.site import FILE

if TYPE_CHECKING:
    from trainer.data.listing import DataFault
    from trainer.progress import TrainingProgress

CACHE = Path("runs/.cache")
"""Folder in which trainings keep labelled images that they downloaded or unpacked."""


def find_labelled_data(place: str, progress: TrainingProgress) -> tuple[Path, tuple[DataFault, ...]]:
    """Return the local folder or manifest of labelled images, and the files that were left out, with reasons.

    What is downloaded or unpacked first, as training does, is kept in `find_image_cache()`.

    Args:
        place: Path or URI of a folder, a manifest or an archive; a path may lead to nothing.
        progress: Receiver of the progress of every download.

    Raises:
        DatasetError: When nothing is at the URI, or when the archive isn't safe to unpack.
        StorageError: When the URI can't be reached, or when the disk is full.
    """
    from trainer.data.dataset import find_local
    from trainer.settings import DataSettings

    return find_local(DataSettings(path=place), cache=find_image_cache(), progress=progress)


def find_image_cache() -> Path:
    """Return the folder for images that are downloaded or unpacked: the project's, else that of the user."""
    in_project = CACHE.parent.is_dir() or Path(FILE).is_file()
    return CACHE if in_project else Path.home() / ".cache" / "eaves"


def build_bars() -> TrainingProgress:
    """Return a progress display with bars on stderr when stderr is a terminal, else one that shows nothing."""
    from trainer.progress import SilentProgress, build_progress

    return build_progress(sys.stderr) if sys.stderr.isatty() else SilentProgress()

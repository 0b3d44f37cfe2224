"""The labelled images that a command is given: a folder, a manifest or an archive, here or at a URI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eaves.cli.shared_options import FILE

if TYPE_CHECKING:
    from trainer.data.listing import DataFault
    from trainer.progress import TrainingProgress

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

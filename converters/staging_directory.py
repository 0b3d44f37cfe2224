"""Opens the directory in which an artifact is built: hidden beside the output, and used by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eaves.base.locks import unfinished_folder
from eaves.errors import ArtifactError


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingDirectory:
    """The two folders in which a conversion builds an artifact; both are on the output's file system.

    Attributes:
        staging: Folder that becomes the artifact.
        folder: Folder for intermediate files.
    """

    staging: Path
    folder: Path


@contextmanager
def open_staging(output: Path) -> Iterator[StagingDirectory]:
    """Open `.NAME.unfinished` beside the output for one process at a time, cleared of a killed process's files.

    Raises:
        ArtifactError: The output exists, or another process is making it.
    """
    output = output.absolute()
    if output.exists():
        raise ArtifactError(f"{output} already exists", hint="name another directory, or remove the existing one")
    busy = ArtifactError(
        f"another process is writing {output}", hint="wait until it has finished, or name another directory"
    )
    with unfinished_folder(output, refusal=busy) as place:
        work = StagingDirectory(staging=place / "artifact", folder=place / "work")
        work.staging.mkdir()
        work.folder.mkdir()
        yield work

"""Where an artifact is made: hidden beside its place, by one process at a time, cleared of what a killed one left."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eaves.artifact.store import discard
from eaves.errors import ArtifactError


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingDirectory:
    """Two empty folders on the output's file system.

    Attributes:
        staging: Becomes the artifact.
        folder: For files in between.
    """

    staging: Path
    folder: Path


@contextmanager
def open_staging(output: Path) -> Iterator[StagingDirectory]:
    """`.NAME.unfinished` beside the output, for one process at a time.

    Raises:
        ArtifactError: When the output exists, or another process is making it.
    """
    output = output.absolute()
    if output.exists():
        raise ArtifactError(f"{output} exists already", hint="name another directory, or remove it")
    place = output.parent / f".{output.name}.unfinished"
    place.mkdir(parents=True, exist_ok=True)
    lock = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(
                f"another process is making {output}", hint="wait for it, or name another directory"
            ) from error
        for left in place.iterdir():
            shutil.rmtree(left)
        work = StagingDirectory(staging=place / "artifact", folder=place / "work")
        work.staging.mkdir()
        work.folder.mkdir()
        try:
            yield work
        finally:
            discard(place)
    finally:
        os.close(lock)

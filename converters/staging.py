"""Opens the directory in which an artifact is built, and puts a user's handler.py into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eaves.artifact import Artifact, Manifest, check
from eaves.artifact.store import HANDLER, MANIFEST, MAX_HANDLER_BYTES
from eaves.base.locks import unfinished_folder
from eaves.errors import ArtifactError, ConversionError
from eaves.inference.replay import replay_in_child
from eaves.inference.session import open_session


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


def copy_handler(path: str, staging: Path) -> Path | None:
    """Copy a handler into the artifact that is being built, so that the conversion runs the code that will be served.

    Args:
        path: Path of the user's file; empty for none.
        staging: Directory of the artifact that is being built.

    Raises:
        ConversionError: The handler can't be read or is larger than an artifact may hold.
    """
    if not path:
        return None
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise ConversionError(
            f"the handler {path} can't be read: {error.strerror}", hint="set convert.handler to a file that can be read"
        ) from error
    if len(source) > MAX_HANDLER_BYTES:
        raise ConversionError(f"the handler {path} is too large: {len(source)} bytes (at most {MAX_HANDLER_BYTES})")
    (staging / HANDLER).write_bytes(source)
    return staging / HANDLER


def check_staged(place: StagingDirectory, manifest: Manifest, handler: Path | None, timeout_s: float) -> None:
    """Replay every golden case as a function does, also through the handler if there is one.

    Raises:
        HandlerError: The handler fails.
        GoldenError: A golden case gives other outputs, or the handler makes other inputs than those recorded.
    """
    staged = Artifact(path=place.staging, manifest=manifest, digest=manifest.digest())
    check(staged, open_session(staged).attempt)
    if handler is not None:
        (place.staging / MANIFEST).write_bytes(manifest.to_json())
        for result in replay_in_child(staged, run_handler=True, timeout_s=timeout_s):
            result.require()

"""Copies a user's handler.py into an artifact, and runs it only in child processes."""

from __future__ import annotations

from pathlib import Path

from eaves.artifact import Artifact
from eaves.artifact.permitted_files import HANDLER, MAX_HANDLER_BYTES
from eaves.artifact.store import MANIFEST
from eaves.errors import ConversionError
from eaves.inference.replay import replay_in_child


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


def check_handler(staged: Artifact, timeout_s: float) -> None:
    """Replay every golden image through the handler, as `eaves verify --run-handler` does.

    Args:
        staged: Artifact that is complete except for its manifest's file, which this function writes.
        timeout_s: Maximum seconds for all images.

    Raises:
        HandlerError: The handler fails.
        GoldenError: The handler makes inputs from a golden image that differ from those recorded for the image.
    """
    (staged.path / MANIFEST).write_bytes(staged.manifest.to_json())
    for result in replay_in_child(staged, run_handler=True, timeout_s=timeout_s):
        result.require()

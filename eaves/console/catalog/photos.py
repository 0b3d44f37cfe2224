"""Finds the photos of a run and the golden images of an artifact, by the digest of their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from eaves.artifact import Artifact, GoldenCase
from eaves.console.catalog.directories import (
    MAX_IMAGE_BYTES,
    find_below,
    foreign_content,
    read_below,
    read_json,
)
from eaves.console.catalog.runs.files import RunFiles
from trainer.run.held_out import HeldOutAnswer


class RunPhotos:
    """The held-out photos of a run, in the run itself or where the training found them.

    A photo is only returned when its bytes have the digest that the run names, so a page never shows another photo than
    the model saw.

    Args:
        files: The run.
        answers: The model's answer to each held-out image by its digest.
    """

    def __init__(self, files: RunFiles, answers: Mapping[str, HeldOutAnswer]) -> None:
        self._run = files.run.path
        self._answers = answers
        with foreign_content(f"the run {files.run.path.name}"):
            root = files.run.dataset.get("root")
            self._root = Path(root) if isinstance(root, str) and root.startswith("/") else None
            listed = read_json(self._run, "samples.json")
            self._samples = {str(item["sha256"]): str(name) for name, item in listed.items()}

    def is_here(self, digest: str) -> bool:
        """Return whether a photo seems to be on this machine; its content is not checked."""
        return any(find_below(root, relative) is not None for root, relative in self._places(digest))

    def read(self, digest: str) -> bytes | None:
        """Return the bytes of a photo; None when it isn't on this machine or has changed."""
        for root, relative in self._places(digest):
            content = read_below(root, relative, max_bytes=MAX_IMAGE_BYTES)
            if content is not None and hashlib.sha256(content).hexdigest() == digest:
                return content
        return None

    def _places(self, digest: str) -> list[tuple[Path, str]]:
        answer = self._answers.get(digest)
        if answer is None:
            return []
        places = [(self._run, self._samples[digest])] if digest in self._samples else []
        return [*places, (self._root, answer.file)] if self._root is not None else places


def read_golden(artifact: Artifact, case: GoldenCase) -> bytes | None:
    """Return the bytes of a golden image; None when it is missing, too large or not the one that was packed."""
    content = read_below(artifact.path, case.file, max_bytes=MAX_IMAGE_BYTES)
    wanted = artifact.manifest.files[case.file].sha256
    return content if content is not None and hashlib.sha256(content).hexdigest() == wanted else None

"""Photos without labels, on which int8 is compared with fp32."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from eaves.errors import ConversionError
from eaves.media import UNKNOWN, sniff
from trainer.progress import Progress

_HINT = "give a folder of photos: convert.unlabelled"


def find_unlabelled(folder: str, *, known: Collection[str], at_most: int, progress: Progress) -> tuple[Path, ...]:
    """The photos of a folder and its subfolders, each content once, in an order that its contents decide.

    Args:
        folder: A local folder; empty: no photos.
        known: sha256 hex of the images that are left out: those trained on, and those that have labels.
        at_most: Number of photos that are returned at most.
        progress: Told how far it is.

    Raises:
        ConversionError: When the folder can't be read.
    """
    if not folder:
        return ()
    root = Path(folder)
    if not root.is_dir():
        raise ConversionError(f"the photos without labels can't be read: {folder} is no folder", hint=_HINT)
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    found: dict[str, Path] = {}
    try:
        with progress.phase("Finding photos without labels", len(files)) as step:
            for path in files:
                content = path.read_bytes()
                if sniff(content) != UNKNOWN:
                    found.setdefault(hashlib.sha256(content).hexdigest(), path)
                step()
    except OSError as error:
        raise ConversionError(f"the photos without labels can't be read: {error}", hint=_HINT) from error
    return tuple(found[digest] for digest in sorted(found) if digest not in known)[:at_most]

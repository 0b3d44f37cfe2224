"""Finds photos without labels, on which int8 is compared with fp32."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from converters.evaluation.trained_images import find_photo_copies
from eaves.errors import ConversionError
from eaves.media_type import UNKNOWN, sniff
from trainer.data.split.near_duplicates import ImageFingerprint
from trainer.progress import TrainingProgress

_HINT = "set convert.unlabelled to a folder of photos"

_logger = logging.getLogger(__name__)


def find_unlabelled(
    folder: str, *, known: Collection[str], looks: Sequence[ImageFingerprint], at_most: int, progress: TrainingProgress
) -> tuple[Path, ...]:
    """Find the photos of a folder and its subfolders, without copies, in an order that the files' contents decide.

    Copies of one photo (other bytes, another encoding or size) count as one, because they would give the same answer.
    Pictures of one colour can't be distinguished from copies and are left out, as are pictures that can't be decoded.

    Args:
        folder: Local folder; empty means no photos.
        known: sha256 of the images that are left out, hex: training images, and images with labels.
        looks: Fingerprints of these images as far as they exist; copies of them are left out too.
        at_most: Maximum number of photos, one of each content, that are compared and returned.
        progress: Receives one step for each file.

    Raises:
        ConversionError: The folder can't be read.
    """
    if not folder:
        return ()
    root = Path(folder)
    if not root.is_dir():
        raise ConversionError(f"the photos without labels can't be read: {folder} is not a folder", hint=_HINT)
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
    photos = [found[digest] for digest in sorted(found) if digest not in known][:at_most]
    return _keep_different(photos, looks, progress)


def _keep_different(
    photos: Sequence[Path], known: Sequence[ImageFingerprint], progress: TrainingProgress
) -> tuple[Path, ...]:
    """Return the photos that are no copy of an earlier one or of a known image; log the number of the others."""
    found = find_photo_copies(photos, known, title="Comparing photos without labels", progress=progress)
    copied = found.of_known | found.of_photo
    different = tuple(path for path, other in zip(photos, copied | found.undecided, strict=True) if not other)
    if len(different) < len(photos):
        _logger.warning(
            "%d of %d photos without labels differ and can judge int8: %d are copies of others or of labelled "
            "images, and %d have only one colour or can't be read",
            len(different),
            len(photos),
            int(copied.sum()),
            int(found.undecided.sum()),
        )
    return different

"""Recognises photos that are copies of images that a model was trained on: saved again, in another encoding or size.

A copy has other bytes, so its digest doesn't tell that the model has seen it. The fingerprints of the training images
do, as far as these are still where the run found them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eaves.errors import DatasetError, StorageError
from eaves.resource_limits import count_usable_cpus
from trainer.data import manifest
from trainer.data.folder import load_folder
from trainer.data.listing import ListedImage, Listing
from trainer.data.manifest import load_manifest
from trainer.data.reading import find_local
from trainer.data.split.near_duplicates import FingerprintIndex, ImageFingerprint, compute_fingerprint
from trainer.progress import TrainingProgress
from trainer.run.run import CONFIG
from trainer.settings import DataSettings

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedLooks:
    """Fingerprints of images that models were trained on.

    Attributes:
        looks: The fingerprints, without those of images that can't be decoded or are flat.
        labels: Name of the class of each of them.
        note: Sentence without a full stop about training images that can't be found any more; else empty.
    """

    looks: tuple[ImageFingerprint, ...] = ()
    labels: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoCopies:
    """What a comparison of photos with known images found.

    Attributes:
        undecided: Whether each photo has one colour or can't be decoded, so that its copies can't be recognised.
        of_known: Whether each photo is a copy of a known image.
        of_photo: Whether each photo is a copy of an earlier photo.
    """

    undecided: Marks
    of_known: Marks
    of_photo: Marks


def load_listing(path: Path) -> Listing:
    """List the images of a local folder or manifest.

    Raises:
        DatasetError: `path` can't be read.
    """
    is_manifest = path.name.lower().endswith(manifest.SUFFIXES) and not path.is_dir()
    return load_manifest(path) if is_manifest else load_folder(path)


def find_data_path(run: Path) -> str:
    """Return the path or URI of the images that a run was trained on; empty when its config.json doesn't say it."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((run / CONFIG).read_text(encoding="utf-8"))["data"]["path"])
    return ""


def find_trained_looks(
    digests: Collection[str], given: Path, places: Iterable[str], *, cache: Path, progress: TrainingProgress
) -> TrainedLooks:
    """Compute the fingerprints of training images, as far as they are still there.

    Args:
        digests: sha256 of the images that the models were trained on, hex.
        given: Folder or manifest of the labelled images, in which they are searched first.
        places: Path or URI of each run's images, in which the others are searched; empty where it is not known.
        cache: Folder for images that are downloaded or unpacked, as in training.
        progress: Receives one step for each file.
    """
    looks, labels, missing = list[ImageFingerprint](), list[str](), set(digests)
    reasons = list[str]()
    for place in dict.fromkeys((str(given), *filter(None, places))):
        if not missing:
            break
        try:
            path, _ = find_local(DataSettings(path=place), cache=cache, progress=progress)
            for label, digest, look in _read(load_listing(path).entries, frozenset(missing), progress):
                if digest in missing and look is not None:
                    looks.append(look)
                    labels.append(label)
                missing.discard(digest)
        except (DatasetError, StorageError) as error:
            reasons.append(error.message)
    note = (
        f"copies of {len(missing)} of the {len(digests)} images that the model was trained on can't be recognised, "
        f"because these images can't be found any more" + (f" ({'; '.join(reasons)})" if reasons else "")
    )
    return TrainedLooks(looks=tuple(looks), labels=tuple(labels), note=note if missing else "")


def find_photo_copies(
    photos: Sequence[Path],
    known: Sequence[ImageFingerprint],
    *,
    title: str,
    progress: TrainingProgress,
    labels: Sequence[str] = (),
) -> PhotoCopies:
    """Find the photos that are copies of a known image or of an earlier photo.

    Args:
        photos: Files of the photos.
        known: Fingerprints of the known images.
        title: Title of the phase, for people.
        progress: Receives one step for each photo.
        labels: Class of each known image, then of each photo; with it, shots by a fixed camera, which all look alike,
            are distinguished as in training. Empty when the photos have no labels.
    """
    looks = list[ImageFingerprint | None]()
    with progress.phase(title, len(photos)) as step, ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool:
        for look in pool.map(_look, photos):
            looks.append(look)
            step()
    every = [*known, *looks]
    seen = np.array([position for position, look in enumerate(every) if look is not None], dtype=np.int64)
    of_class = np.unique(labels, return_inverse=True)[1].astype(np.int64)[seen] if labels else None
    of_known, of_photo = (np.zeros(len(every), dtype=np.bool_) for _ in range(2))
    index = FingerprintIndex([look for look in every if look is not None], of_class, progress)
    for first, second in index.copies(fresh=len(known)) if photos else ():
        of_known[seen[second[first < len(known)]]] = True
        of_photo[seen[second[first >= len(known)]]] = True
    return PhotoCopies(
        undecided=np.array([look is None for look in looks], dtype=np.bool_),
        of_known=of_known[len(known) :],
        of_photo=of_photo[len(known) :],
    )


def _read(
    entries: Sequence[ListedImage], digests: frozenset[str], progress: TrainingProgress
) -> Iterator[tuple[str, str, ImageFingerprint | None]]:
    """Yield label, digest and fingerprint of every file whose digest is one of `digests`."""

    def read(entry: ListedImage) -> tuple[str, str, ImageFingerprint | None] | None:
        try:
            data = entry.path.read_bytes()
        except OSError:
            return None
        digest = hashlib.sha256(data).hexdigest()
        return (entry.label, digest, compute_fingerprint(data)) if digest in digests else None

    with (
        progress.phase("Reading training images", len(entries)) as step,
        ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool,
    ):
        for found in pool.map(read, entries):
            step()
            if found is not None:
                yield found


def _look(path: Path) -> ImageFingerprint | None:
    try:
        return compute_fingerprint(path.read_bytes())
    except OSError:
        return None

"""Reads, hashes and fingerprints the files of a listing, and keeps one file of each content."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eaves.errors import ImageError
from eaves.images.pixels import Pixels, decode
from eaves.media_type import UNKNOWN, sniff
from eaves.resource_limits import count_usable_cpus
from trainer.data import archive, manifest, remote
from trainer.data.folder import load_folder
from trainer.data.listing import DataFault, ListedImage, Listing, check_labels, in_two_classes, same_bytes
from trainer.data.manifest import load_manifest
from trainer.data.split import near_duplicates
from trainer.data.split.proposals import find_time
from trainer.progress import TrainingProgress
from trainer.settings import DataSettings
from trainer.storage import is_uri

_MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".tif": "image/tiff"}
_CHUNK = 256
BLACK = 32
"""Brightness, of 255, below which an image is nearly black."""
SAMPLED = 2**16
"""Number of pixels of an image, about, of which the brightness is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image's file after it has been read.

    Attributes:
        entry: The image's entry in the listing.
        digest: sha256 of the file's bytes, hex.
        media_type: Media type that the file's first bytes show.
        look: Fingerprint of the image; None when the image can't be decoded or is flat.
        taken: Time in the file's EXIF; empty when there is none.
        brightest: Brightness of the image as `measure_brightest` returns it; None when the image can't be decoded.
    """

    entry: ListedImage
    digest: str
    media_type: str
    look: near_duplicates.ImageFingerprint | None
    taken: str = ""
    brightest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetImages:
    """The images of a folder or a manifest after they have been read.

    Attributes:
        listing: Listing of the images by name.
        seen: The images that were read, without files that repeat the bytes of an earlier file.
        faults: Faults that were found.
    """

    listing: Listing
    seen: tuple[ImageRecord, ...]
    faults: tuple[DataFault, ...]


def find_local(data: DataSettings, *, cache: Path, progress: TrainingProgress) -> tuple[Path, tuple[DataFault, ...]]:
    """Download and unpack the images if needed; return the local folder or manifest, and faults of files left out.

    Raises:
        DatasetError: The URI holds nothing, or the archive isn't safe.
        StorageError: The URI can't be reached, or the disk is full.
    """
    place = str(data.path)
    faults: tuple[DataFault, ...] = ()
    if place.startswith("file://"):
        place = place.removeprefix("file://")
    if is_uri(place):
        found = remote.mirror(place, cache / "remote", progress)
        path, faults = found.path, found.faults
    else:
        path = Path(place)
    if path.name.lower().endswith(archive.SUFFIXES) and not path.is_dir():
        path = archive.unpack_once(path, cache / "unpacked", limit_bytes=int(data.unpacked_gb * 1e9))
    return path, faults


def read_images(path: Path, progress: TrainingProgress) -> DatasetImages:
    """Find, hash and check the images of a local folder or manifest.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV or JSONL
            manifest.
        progress: Receives one step for each file.

    Raises:
        DatasetError: There are no images, fewer than two classes, an empty class, or one image in two classes.
    """
    is_manifest = path.name.lower().endswith(manifest.SUFFIXES) and not path.is_dir()
    listing = load_manifest(path) if is_manifest else load_folder(path)
    check_labels(listing)
    faults = list(listing.faults)
    seen = _first_of_each(listing, _read_all(listing, faults, progress), faults)
    return DatasetImages(listing=listing, seen=tuple(seen), faults=tuple(faults))


def entry_name(listing: Listing, path: Path) -> str:
    """Return a file's path relative to the dataset's root, for people."""
    return path.relative_to(listing.root).as_posix()


def measure_brightest(pixels: Pixels) -> int:
    """Return the 99.9th percentile of an image's values, 0 to 255, from about `SAMPLED` pixels."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLED) ** 0.5))
    return int(np.percentile(pixels[::step, ::step], 99.9))


def describe_black(brightest: Sequence[int | None], labels: Sequence[str]) -> str:
    """Return a sentence for people if most images of a class are nearly black; else an empty text.

    Args:
        brightest: Brightness of each image; None when it can't be decoded.
        labels: Name of each image's class.
    """
    black = [
        (label, value) for label, value in zip(labels, brightest, strict=True) if value is not None and value < BLACK
    ]
    sizes, dark = Counter(labels), Counter(label for label, _ in black)
    if not any(2 * count > sizes[label] for label, count in dark.items()):
        return ""
    return (
        f"nearly black: the brightest pixel of {len(black)} of {len(labels)} images is at most "
        f"{max(value for _, value in black)} of 255, as of 12-bit values in 16-bit files and of TIFF files of floats; "
        "scale the images to the full range before training, and in the same way where they are predicted"
    )


def _read_all(listing: Listing, faults: list[DataFault], progress: TrainingProgress) -> Iterator[ImageRecord]:
    """Yield the record of every usable file, in order; add what is wrong with files to `faults`. Use every CPU."""
    with (
        progress.phase("Hashing images", len(listing.entries)) as step,
        ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool,
    ):
        for start in range(0, len(listing.entries), _CHUNK):
            chunk = listing.entries[start : start + _CHUNK]
            for entry, seen in zip(chunk, pool.map(_read, chunk), strict=True):
                step()
                name = entry_name(listing, entry.path)
                if isinstance(seen, str):
                    faults.append(DataFault(file=name, reason=seen))
                    continue
                expected = _MEDIA_TYPES.get(entry.path.suffix.lower(), f"image/{entry.path.suffix[1:].lower()}")
                if seen.media_type not in (UNKNOWN, expected):
                    reason = f"the file's content is {seen.media_type}, which its name does not show"
                    faults.append(DataFault(file=name, reason=reason, used=True))
                yield seen


def _read(entry: ListedImage) -> ImageRecord | str:
    """Read one file; return its record, or why it can't be used."""
    try:
        data = entry.path.read_bytes()
    except OSError as error:
        return f"the file can't be read: {error.strerror}"
    if not data:
        return "the file is empty (0 bytes)"
    digest = hashlib.sha256(data).hexdigest()
    record = ImageRecord(entry=entry, digest=digest, media_type=sniff(data), look=None, taken=find_time(data))
    try:
        pixels = decode(data, at_least=near_duplicates.DECODED)
    except ImageError:
        return record
    return replace(record, look=near_duplicates.fingerprint_pixels(pixels), brightest=measure_brightest(pixels))


def _first_of_each(listing: Listing, seen: Iterator[ImageRecord], faults: list[DataFault]) -> list[ImageRecord]:
    """Return the images without repeated contents: of several files with the same bytes, only the first.

    Raises:
        DatasetError: The same image is in two classes.
    """
    known: dict[str, ImageRecord] = {}
    contradictions: list[tuple[tuple[str, str], tuple[str, str]]] = []
    for item in seen:
        first = known.setdefault(item.digest, item)
        if first is item:
            continue
        names = [entry_name(listing, each.entry.path) for each in (first, item)]
        # The same broken bytes in two classes (an error page saved as .jpg) say nothing about the labels.
        if first.entry.label != item.entry.label and item.media_type != UNKNOWN:
            contradictions.append(((names[0], first.entry.label), (names[1], item.entry.label)))
        faults.append(same_bytes(names[1], names[0]))
    if contradictions:
        raise in_two_classes(contradictions)
    return list(known.values())

"""Finds the local files of a dataset, reads, hashes and fingerprints them, and keeps one file of each content."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from eaves.errors import ImageError
from eaves.images.pixels import decode
from eaves.media_type import UNKNOWN, sniff
from eaves.resource_limits import count_usable_cpus
from trainer.data import archive, remote
from trainer.data.listing import DataFault, LabelledImage, Listing, check_labels, in_two_classes, load_listing
from trainer.data.split import near_duplicates
from trainer.data.split.groups import CopyGroups, find_time, group_copies, propose_group_by
from trainer.progress import TrainingProgress
from trainer.settings import DataSettings
from trainer.storage import is_uri

_CHUNK = 256
BLACK = 32
"""Brightness, of 255, below which an image is nearly black."""
SAMPLED = 2**16
"""Number of pixels of an image, about, of which the brightness is measured."""


def find_local(data: DataSettings, *, cache: Path, progress: TrainingProgress) -> tuple[Path, tuple[DataFault, ...]]:
    """Download and unpack the images if needed; return the local folder or manifest, and faults of files left out.

    Raises:
        DatasetError: The URI holds nothing, or the archive isn't safe.
        StorageError: The URI can't be reached, or the disk is full.
    """
    place = str(data.path).removeprefix("file://")
    path, faults = remote.mirror(place, cache / "remote", progress) if is_uri(place) else (Path(place), ())
    if path.name.lower().endswith(archive.SUFFIXES) and not path.is_dir():
        path = archive.unpack_once(path, cache / "unpacked", limit_bytes=int(data.unpacked_gb * 1e9))
    return path, faults


def read_images(path: Path, progress: TrainingProgress) -> tuple[Listing, list[LabelledImage], list[DataFault]]:
    """Find, hash and check the images of a local folder or manifest.

    Returns:
        listing: Listing of the images by name.
        images: The images that were read, without files that repeat the bytes of an earlier file.
        faults: Faults that were found.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV manifest.
        progress: Receives one step for each file.

    Raises:
        DatasetError: There are no images, fewer than two classes, an empty class, or one image in two classes.
    """
    listing = load_listing(path)
    check_labels(listing)
    faults = list(listing.faults)
    return listing, read_once(listing, faults, progress), faults


def read_once(listing: Listing, faults: list[DataFault], progress: TrainingProgress) -> list[LabelledImage]:
    """Return the images that can be read, one of each content; what is wrong with the others is added to `faults`.

    Raises:
        DatasetError: One image is in two classes.
    """
    images, repeats = drop_repeats(read_records(listing, faults, progress), faults)
    if repeats:
        raise in_two_classes(repeats)
    return images


def read_records(listing: Listing, faults: list[DataFault], progress: TrainingProgress) -> Iterator[LabelledImage]:
    """Yield every readable image, in order; add what is wrong with files to `faults`. Use every CPU."""
    with (
        progress.phase("Reading images", len(listing.entries)) as step,
        ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool,
    ):
        for start in range(0, len(listing.entries), _CHUNK):
            chunk = listing.entries[start : start + _CHUNK]
            names = [image.path.relative_to(listing.root).as_posix() for image in chunk]
            for name, seen in zip(names, pool.map(_read, chunk, names), strict=True):
                step()
                if isinstance(seen, str):
                    faults.append(DataFault(file=name, reason=seen))
                else:
                    yield seen


def drop_repeats(
    seen: Iterable[LabelledImage], faults: list[DataFault]
) -> tuple[list[LabelledImage], list[tuple[str, str]]]:
    """Return the first image of those with the same bytes, and the names of two such in different classes.

    All repeats are added to `faults`.
    """
    known: dict[str, LabelledImage] = {}
    repeats: list[tuple[str, str]] = []
    for item in seen:
        first = known.setdefault(item.digest, item)
        if first is item:
            continue
        # The same broken bytes in two classes (an error page saved as .jpg) say nothing about the labels.
        if first.label != item.label and item.media_type != UNKNOWN:
            repeats.append((first.name, item.name))
        faults.append(DataFault(file=item.name, reason=f"it has the same bytes as {first.name}"))
    return list(known.values()), repeats


def group_images(
    images: Sequence[LabelledImage], labels: Sequence[str], near_copies: str, progress: TrainingProgress
) -> CopyGroups:
    """Group the images that look alike, and the copies of one photo; `labels` are all class names."""
    looks, digests = [image.look for image in images], [image.digest for image in images]
    return group_copies(looks, digests, [labels.index(image.label) for image in images], near_copies, progress)


def propose_groups(images: Sequence[LabelledImage], groups: Sequence[str]) -> str:
    """Return a sentence that proposes a value of `data.group_by`, or an empty text; `groups` are named without it."""
    below, labels = [image.below for image in images], [image.label for image in images]
    return propose_group_by(below, labels, [image.taken for image in images], groups)


def describe_black(images: Sequence[LabelledImage]) -> str:
    """Return a sentence for people if most images of a class are nearly black; else an empty text."""
    black = [image for image in images if image.brightest < BLACK]
    sizes, dark = Counter(image.label for image in images), Counter(image.label for image in black)
    if not any(2 * count > sizes[label] for label, count in dark.items()):
        return ""
    return (
        f"nearly black: the brightest pixel of {len(black)} of {len(images)} images is at most "
        f"{max(image.brightest for image in black)} of 255, as of 12-bit values in 16-bit files and of TIFF files of "
        "floats; scale the images to the full range before training, and in the same way where they are predicted"
    )


def _read(image: LabelledImage, name: str) -> LabelledImage | str:
    """Read one file; return the image with what the file holds, or why it can't be used."""
    try:
        data = image.path.read_bytes()
    except OSError as error:
        return f"the file can't be read: {error.strerror}"
    if not data:
        return "the file is empty (0 bytes)"
    digest = hashlib.sha256(data).hexdigest()
    image = replace(image, name=name, digest=digest, media_type=sniff(data), taken=find_time(data))
    try:
        pixels = decode(data, at_least=near_duplicates.DECODED)
    except ImageError as error:
        return replace(image, fault=error.message)
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLED) ** 0.5))
    brightest = int(np.percentile(pixels[::step, ::step], 99.9))
    return replace(image, look=near_duplicates.fingerprint_pixels(pixels), brightest=brightest)

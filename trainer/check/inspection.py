"""Inspects a dataset: reads every file once and reports what training would find."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.errors import DatasetError, ImageError
from eaves.images.envelope import open_envelope
from eaves.images.pixels import Pixels, decode
from eaves.resource_limits import count_usable_cpus
from trainer.check.cached_features import load_cached_features
from trainer.check.descriptor import Vector, compute_descriptor
from trainer.check.label_doubts import Doubts, find_doubts
from trainer.data import manifest
from trainer.data.folder import load_folder
from trainer.data.listing import DataFault, ListedImage, Listing, check_labels
from trainer.data.manifest import load_manifest
from trainer.data.reading import describe_black, measure_brightest
from trainer.data.split import near_duplicates
from trainer.data.split.groups import group_copies
from trainer.data.split.proposals import find_time, propose_group_by
from trainer.data.unused_files import Cause, group_by_cause
from trainer.progress import TrainingProgress

LEAST_IMAGES = 4
"""Minimum number of images in a class: 2 to train on and 2 to hold out."""
TURNED = 5
"""Lowest EXIF orientation (of 1 to 8) that swaps width and height; every higher orientation swaps them too. Source:
CIPA DC-008 (EXIF 3.0), tag 274."""
_DECODED = 256
"""Minimum width and height, in pixels, to which a JPEG may be scaled down while it is decoded; the inspection needs no
larger picture."""
_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedImage:
    """An image that training can use.

    Attributes:
        path: Path of the file.
        name: Path of the file below the dataset's root.
        label: Name of the image's class.
        digest: sha256 of the file's bytes, hex.
        width: Width of the upright image in pixels.
        height: Height of the upright image in pixels.
        look: Fingerprint of the image, used to find copies.
        brightest: Brightness of the image, as `measure_brightest` returns it.
        taken: Time in the file's EXIF; empty when there is none.
        below: The file's path below its class's folder, or below the manifest's.
        vector: Descriptor of the image, used to find doubtful labels.
    """

    path: Path
    name: str
    label: str
    digest: str
    width: int
    height: int
    look: near_duplicates.ImageFingerprint | None
    brightest: int
    taken: str
    below: PurePosixPath
    vector: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtedImage:
    """An image that looks like another class than the one it is labelled with."""

    image: CheckedImage
    looks_like: str
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Result of inspecting a dataset.

    Attributes:
        root: Folder of the dataset.
        problems: Reasons why training would refuse the dataset, each one sentence.
        classes: Name of each class to its number of usable images.
        not_used: Files that training would leave out, by cause.
        copies: Sets of images of one class that show the same picture.
        copies_across: Sets of images in two or more classes that show the same or nearly the same picture; the first
            images of a set are one of each class.
        notes: Sentences for people about the images as a whole: nearly black, by a fixed camera, a `data.group_by`.
        images: The usable images, without files that repeat the bytes of an earlier file.
        doubts: Labels compared with the predictions from the other images; None with too few images.
        doubted: The images whose label is doubted, the most doubtful first.
        described_by: Kind of the vectors that the labels were checked with: `cached features` or `descriptor`.
    """

    root: Path
    problems: tuple[str, ...]
    classes: dict[str, int]
    not_used: tuple[Cause, ...]
    copies: tuple[tuple[CheckedImage, ...], ...]
    copies_across: tuple[tuple[CheckedImage, ...], ...]
    notes: tuple[str, ...]
    images: tuple[CheckedImage, ...]
    doubts: Doubts | None
    doubted: tuple[DoubtedImage, ...]
    described_by: str

    def sizes(self) -> dict[str, list[int]]:
        """Return width and height in pixels of the smallest, the median and the largest image."""
        ordered = sorted(self.images, key=lambda image: image.width * image.height)
        if not ordered:
            return {}
        chosen = {"smallest": ordered[0], "median": ordered[len(ordered) // 2], "largest": ordered[-1]}
        return {name: [image.width, image.height] for name, image in chosen.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON."""
        return {
            "root": str(self.root),
            "problems": list(self.problems),
            "classes": self.classes,
            "sizes": self.sizes(),
            "not_used": [{"reason": cause.reason, "files": list(cause.files)} for cause in self.not_used],
            "copies": [[image.name for image in group] for group in self.copies],
            "copies_across_classes": [[image.name for image in group] for group in self.copies_across],
            "notes": list(self.notes),
            "described_by": self.described_by,
            "label_agreement": self.doubts.agreement if self.doubts else None,
            "doubtful_labels": [
                {"file": item.image.name, "label": item.image.label, "looks_like": item.looks_like}
                | {"margin": round(item.margin, 3)}
                for item in self.doubted
            ],
        }


def inspect_data(
    path: Path, *, features: Path, progress: TrainingProgress, faults: Collection[DataFault] = ()
) -> Inspection:
    """Read every file below `path` and report what training would find.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV or JSONL
            manifest.
        features: Folder of cached features; it need not exist.
        progress: Receives one step for each file.
        faults: Files that were left out already, when the images were downloaded.

    Raises:
        DatasetError: `path` can't be read at all.
    """
    is_manifest = path.name.lower().endswith(manifest.SUFFIXES) and not path.is_dir()
    listing = load_manifest(path) if is_manifest else load_folder(path)
    left_out, found = [*faults, *listing.faults], list[CheckedImage]()
    with progress.phase("Reading images", len(listing.entries)) as step:
        for entry, seen in zip(listing.entries, _read_all(listing), strict=True):
            step()
            if isinstance(seen, str):
                left_out.append(DataFault(file=entry.path.relative_to(listing.root).as_posix(), reason=seen))
            else:
                found.append(seen)
    kept = _first_of_each(found, left_out)
    groups, notes = _find_copies(found, listing.labels, progress)
    black = describe_black([image.brightest for image in kept], [image.label for image in kept])
    doubts, doubted, described_by = _doubt(kept, features)
    counts = Counter(image.label for image in kept)
    return Inspection(
        root=listing.root,
        problems=tuple(_problems(listing, counts, groups)),
        classes={label: counts[label] for label in listing.labels},
        not_used=tuple(group_by_cause(left_out)),
        copies=tuple(group for group in groups if len({image.label for image in group}) == 1),
        copies_across=tuple(_order(group) for group in groups if len({image.label for image in group}) > 1),
        notes=tuple(note for note in (black, *notes) if note),
        images=tuple(kept),
        doubts=doubts,
        doubted=tuple(doubted),
        described_by=described_by,
    )


def _read_all(listing: Listing) -> Iterator[CheckedImage | str]:
    """Yield for each listed file, in order, the checked image or the reason why it can't be used; use every CPU."""
    with ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool:
        for start in range(0, len(listing.entries), _CHUNK):
            yield from pool.map(lambda entry: _read(listing, entry), listing.entries[start : start + _CHUNK])


def _read(listing: Listing, entry: ListedImage) -> CheckedImage | str:
    try:
        data = entry.path.read_bytes()
        if not data:
            return "the file is empty (0 bytes)"
        pixels = decode(data, at_least=(_DECODED, _DECODED))
        width, height = _full_size(data, pixels)
    except OSError as error:
        return f"the file can't be read: {error.strerror}"
    except ImageError as error:
        return error.message
    return CheckedImage(
        path=entry.path,
        name=entry.path.relative_to(listing.root).as_posix(),
        label=entry.label,
        digest=hashlib.sha256(data).hexdigest(),
        width=width,
        height=height,
        look=near_duplicates.compute_fingerprint(data),
        brightest=measure_brightest(pixels),
        taken=find_time(data),
        below=entry.below,
        vector=compute_descriptor(pixels),
    )


def _full_size(data: bytes, pixels: Pixels) -> tuple[int, int]:
    """Return width and height of the original image in pixels, upright; `pixels` may be scaled down."""
    envelope = open_envelope(data)
    if envelope.size is None:
        return pixels.shape[1], pixels.shape[0]
    width, height = envelope.size
    return (height, width) if envelope.orientation >= TURNED else (width, height)


def _first_of_each(found: Sequence[CheckedImage], faults: list[DataFault]) -> list[CheckedImage]:
    known: dict[str, CheckedImage] = {}
    for image in found:
        first = known.setdefault(image.digest, image)
        if first is not image:
            faults.append(DataFault(file=image.name, reason=f"it has the same bytes as {first.name}"))
    return list(known.values())


def _find_copies(
    found: Sequence[CheckedImage], names: Sequence[str], progress: TrainingProgress
) -> tuple[list[tuple[CheckedImage, ...]], tuple[str, str]]:
    """Return sets of images that show the same picture (the same bytes, or nearly the same pixels), and notes."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(image.digest, row), row) for row, image in enumerate(found)]
    labels = [names.index(image.label) for image in found]
    looks, digests = [image.look for image in found], [image.digest for image in found]
    copied = group_copies(looks, digests, labels, "similar", progress)
    pairs += [(group[0], row) for group in copied.copies for row in group[1:]]
    roots, joined = np.arange(len(found)), np.array(pairs, dtype=np.int64).reshape(-1, 2)
    near_duplicates.unite(roots, joined[:, 0], joined[:, 1])
    groups: defaultdict[int, list[CheckedImage]] = defaultdict(list)
    for root, image in zip(roots.tolist(), found, strict=True):
        groups[root].append(image)
    group_of = {position: digests[group[0]] for group in copied.groups for position in group}
    proposal = propose_group_by(
        [image.below for image in found],
        [image.label for image in found],
        [image.taken for image in found],
        [group_of.get(row, digest) for row, digest in enumerate(digests)],
    )
    return [tuple(group) for group in groups.values() if len(group) > 1], (copied.note, proposal)


def _order(group: Sequence[CheckedImage]) -> tuple[CheckedImage, ...]:
    """Return the images of a set in several classes: one of each class, then the others."""
    first = {image.label: image for image in reversed(group)}.values()
    shown = {image.name for image in first}
    return (*reversed(first), *(image for image in group if image.name not in shown))


def _doubt(kept: Sequence[CheckedImage], features: Path) -> tuple[Doubts | None, list[DoubtedImage], str]:
    """Compare the labels with predictions; return the result, the doubted images and the kind of vectors used."""
    names = sorted({image.label for image in kept})
    if len(names) < 2 or len(kept) < 2 * LEAST_IMAGES:
        return None, [], "descriptor"
    cached = load_cached_features(features, [image.digest for image in kept])
    vectors: npt.NDArray[np.float32]
    vectors, rows = cached or (np.stack([image.vector for image in kept]), list(range(len(kept))))
    labels = np.array([names.index(kept[row].label) for row in rows], dtype=np.int64)
    doubts = find_doubts(vectors, labels)
    doubted = [
        DoubtedImage(image=kept[rows[item.row]], looks_like=names[item.looks_like], margin=item.margin)
        for item in doubts.images
    ]
    return doubts, doubted, "cached features" if cached else "descriptor"


def _problems(listing: Listing, counts: Counter[str], groups: Sequence[tuple[CheckedImage, ...]]) -> Iterator[str]:
    """Yield the reasons why training would refuse the dataset."""
    try:
        check_labels(listing)
    except DatasetError as error:
        yield error.message
        return
    for label in listing.labels:
        if counts[label] < LEAST_IMAGES:
            yield f"the class {label} has {counts[label]} usable images; training needs {LEAST_IMAGES}"
    for group in groups:
        by_digest: defaultdict[str, set[str]] = defaultdict(set)
        for image in group:
            by_digest[image.digest].add(image.label)
        if any(len(labels) > 1 for labels in by_digest.values()):
            yield f"the same image is in several classes: {', '.join(image.name for image in group)}"

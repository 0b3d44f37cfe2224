"""Loads a dataset: labelled images in local files, checked and split into training and validation.

Images of an earlier run stay on their side of the split. New images are split by content: the sha256 of the files and
the seed decide, so that the machine doesn't matter, nor a file's name without `data.group_by`. Each class holds out its
share, and images that belong together (they look alike, or are a group of `data.group_by`) stay together as far as
their number allows. A split that the data declare is used unchanged, and copies across it are reported.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eaves.artifact.manifest import ANOMALOUS
from eaves.artifact.store import file_digest
from eaves.base.disk_errors import disk_errors
from eaves.dataset_folder import AUDIT, Split
from eaves.errors import DatasetError, ImageError
from eaves.images.pixels import decode
from eaves.media_type import UNKNOWN, sniff
from eaves.resource_limits import count_usable_cpus
from trainer.data import near_duplicates
from trainer.data.groups import COPIES, group_copies, join_piles, parse_group_by, propose_group_by
from trainer.data.listing import (
    DRAWN,
    DataFault,
    LabelledImage,
    Listing,
    check_labels,
    in_two_classes,
    judge_as_anomalies,
    load_listing,
)
from trainer.data.remote import ARCHIVES, mirror, unpack_once
from trainer.data.splitting import SplitEntry, assign_sides
from trainer.progress import SILENT, TrainingProgress
from trainer.settings import DataSettings
from trainer.storage import is_uri

IMBALANCED = 1.5
"""Ratio of the number of images in the largest class to that in the smallest above which `balance: auto` weights
classes. Below it, weights change the accuracy less than another seed does."""


def is_imbalanced(counts: Iterable[int]) -> bool:
    """Return whether classes with these numbers of images are so unequal that `balance: auto` weights them."""
    found = list(counts)
    return max(found) > IMBALANCED * min(found)


def weigh_classes(counts: Sequence[float]) -> tuple[float, ...]:
    """Return the weight of each class's images, by which all classes weigh alike; the mean over the images is 1.

    Source: King and Zeng, "Logistic Regression in Rare Events Data" (2001), section 4.2; scikit-learn's `balanced`.
    """
    return tuple(sum(counts) / (len(counts) * count) for count in counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled images, split into training and validation.

    Attributes:
        root: Local folder that holds the images.
        labels: Class names, sorted; the numbers of classes elsewhere are indices into them.
        examples: The images, in order of class and path, without their fingerprints; each has a side.
        faults: Faults of the files that are left out.
        broken: Faults of files among the examples that can't be decoded.
        declared: Whether the data declare the split.
        groups: Number of groups of images that stay together: groups of `data.group_by` if it is set, else groups of
            images that look alike.
        lookalikes: sha256 of the held-out images that tell little about the model, hex: they are in the group of a
            training image of their class (in a declared split: look like a training image of any class), or are a copy
            of one.
        split_of: Path or URI of the run whose split is kept; empty when the split is new.
        notes: Limitations of the split, each one sentence for people.
        balance: `auto` or `none`: whether `class_weights` makes up for unequal classes.
    """

    root: Path
    labels: tuple[str, ...]
    examples: tuple[LabelledImage, ...]
    faults: tuple[DataFault, ...]
    declared: bool
    broken: tuple[DataFault, ...] = ()
    groups: int = 0
    lookalikes: frozenset[str] = frozenset()
    split_of: str = ""
    notes: tuple[str, ...] = ()
    balance: str = "auto"

    def counts(self, split: Split) -> dict[str, int]:
        """Return the name of each class and its number of examples on one side."""
        count = Counter(example.label for example in self.examples if example.split == split)
        return {name: count[name] for name in self.labels}

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the positions of one side's examples."""
        return np.array([row for row, item in enumerate(self.examples) if item.split == split], np.int64)

    def on(self, split: Split) -> list[LabelledImage]:
        """Return one side's examples."""
        return [example for example in self.examples if example.split == split]

    def unseen(self) -> list[LabelledImage]:
        """Return the held-out examples that don't look like a training image; only they are as new images are."""
        return [example for example in self.on("val") if example.digest not in self.lookalikes]

    def truth(self, examples: Iterable[LabelledImage]) -> npt.NDArray[np.int64]:
        """Return the index of each example's class, (N,)."""
        index = {name: number for number, name in enumerate(self.labels)}
        return np.array([index[example.label] for example in examples], np.int64)

    @property
    def is_balanced(self) -> bool:
        """Whether images weigh in the loss so that the classes count alike."""
        return self.balance != "none" and is_imbalanced(self.counts("train").values())

    def class_weights(self) -> dict[int, float]:
        """Return the weight in the loss of the training images of each class, by the index of the class.

        The mean weight over the training images is 1.

        Every class has the same total weight when `is_balanced`; otherwise all weights are 1.
        """
        counts = list(self.counts("train").values())
        if not self.is_balanced:
            return dict.fromkeys(range(len(counts)), 1.0)
        return dict(enumerate(weigh_classes(counts)))

    def label_weights(self) -> tuple[float, ...]:
        """Return the weights of the decision rule in the order of the labels; empty if no class is weighted.

        They are the weights of `class_weights`, divided by the largest.
        """
        if not self.is_balanced:
            return ()
        weights = self.class_weights().values()
        return tuple(weight / max(weights) for weight in weights)

    def digest(self) -> str:
        """Return the sha256 of contents, labels and sides of the examples, hex; file names don't count."""
        lines = sorted(f"{item.digest} {item.split} {item.label}\n" for item in self.examples)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def split_entries(self) -> list[SplitEntry]:
        """Return one entry for each example; together they are the content of the run's `split.jsonl`."""
        return [
            SplitEntry(digest=item.digest, label=item.label, split=item.split or "train", group=item.group)
            for item in self.examples
            if item.kind != DRAWN
        ]

    def without(self, faults: Collection[DataFault]) -> Dataset:
        """Return the dataset without the files that the given faults name; the faults are added to its own.

        Raises:
            DatasetError: A class or the validation side has no images left.
        """
        gone = {fault.file for fault in faults}
        kept = tuple(item for item in self.examples if item.name not in gone)
        lookalikes = self.lookalikes & {item.digest for item in kept}
        left = replace(self, examples=kept, faults=(*self.faults, *faults), lookalikes=lookalikes)
        _check_sides(left)
        return left


def load_dataset(
    data: DataSettings,
    *,
    val_fraction: float,
    seed: int,
    cache: Path,
    known: Mapping[str, Split] | None = None,
    good: str = "",
    progress: TrainingProgress = SILENT,
) -> Dataset:
    """Load the dataset that the settings name, without images that can't be decoded.

    It is downloaded and unpacked into `cache` unless it is there already.

    Args:
        data: Settings that name the images.
        val_fraction: Share of each class that is held out when the data declare no split.
        seed: Seed of the split; another seed gives another split.
        cache: Local folder that is kept between runs; the examples' files may be in it.
        known: Digest and side of each image that an earlier run has placed.
        good: Argument of `scan`.
        progress: Receives one step for each file.

    Raises:
        DatasetError: `scan` refuses the images, the URI holds nothing, or the archive isn't safe.
        StorageError: The URI can't be reached, or the disk is full.
    """
    path, faults = find_local(data, cache=cache, progress=progress)
    dataset = scan(
        path,
        val_fraction=val_fraction,
        seed=seed,
        near_copies=data.near_copies,
        group_by=data.group_by,
        known=known,
        good=good,
        progress=progress,
    )
    balance = "none" if good else data.balance
    return replace(dataset, faults=(*faults, *dataset.faults), balance=balance).without(dataset.broken)


def scan(
    path: Path,
    *,
    val_fraction: float,
    seed: int = 0,
    near_copies: str = "similar",
    group_by: str = "",
    known: Mapping[str, Split] | None = None,
    good: str = "",
    progress: TrainingProgress = SILENT,
) -> Dataset:
    """Find, hash, check and split the images of a local folder or manifest.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV manifest.
        val_fraction: Share of each class that is held out when the data declare no split.
        seed: Seed of the split; another seed gives another split.
        near_copies: Value of `data.near_copies`.
        group_by: Value of `data.group_by`.
        known: Digest and side of each image that an earlier run has placed.
        good: Name of the class of good images, for the task `anomaly`: only they are trained on, the others judge.
        progress: Receives one step for each file.

    Raises:
        DatasetError: There are no images, fewer than two classes, a class of fewer than 4 images, one image in two
            classes, or nothing to validate on.
    """
    listing, images, faults = read_images(path, progress, good=good)
    copied = group_copies(images, near_copies, progress)
    copied = replace(copied, groups=join_piles(copied.groups, images))
    names, by_person = name_groups(images, copied.groups, group_by)
    images = [replace(image, group=name) for image, name in zip(images, names, strict=True)]
    notes = [*listing.notes, describe_black(images), "" if group_by else copied.note]
    if listing.declared:
        sides: list[Split] = ["val" if image.only_judges else image.split or "train" for image in images]
    else:
        split = [image for image in images if not image.only_judges]
        placed, parted = assign_sides(split, fraction=val_fraction, seed=seed, known=known or {})
        following = iter(placed)
        sides = ["val" if image.only_judges else next(following) for image in images]
        if parted:
            groups_are = "1 group are" if len(parted) == 1 else f"{len(parted)} groups are"
            notes.append(
                f"{sum(parted.values())} images of {groups_are} on both sides of the split: their classes have too few "
                "other images to hold out, or an earlier run had placed them (--split new makes a new split); accuracy "
                "may be overestimated"
            )
        if not group_by:
            notes.append(propose_group_by(images, [image.group_name for image in images]))
    examples = [replace(image, split=side, look=None) for image, side in zip(images, sides, strict=True)]
    # With `similar`, images of a class that look alike are in one group already.
    alike = [] if by_person or (near_copies == "similar" and not listing.declared) else copied.alike
    lookalikes = _find_lookalikes(examples, [*copied.copies, *alike], declared=listing.declared and not good)
    if lookalikes and (listing.declared or near_copies == "exact"):
        held = sides.count("val")
        notes.append(
            f"{len(lookalikes)} of {held} held-out images look like a training image; accuracy on them is overestimated"
        )
    dataset = Dataset(
        root=listing.root,
        labels=listing.labels,
        examples=tuple(sorted(examples, key=lambda item: (item.label, str(item.path)))),
        faults=tuple(faults),
        broken=tuple(DataFault(file=image.name, reason=image.fault) for image in images if image.fault),
        declared=listing.declared,
        groups=len(by_person) or len(copied.groups),
        lookalikes=lookalikes,
        notes=tuple(filter(None, notes)),
    )
    _check_sides(dataset)
    return dataset


def name_groups(
    images: Sequence[LabelledImage], copied: Sequence[Sequence[int]], group_by: str
) -> tuple[list[str], frozenset[str]]:
    """Return the name of each image's group, and the names of the groups that `data.group_by` makes.

    `data.group_by` takes precedence over copies and piles: if copies are in two of its groups, the groups stay
    separate. An image that `data.group_by` puts into no group is grouped with its copies and its pile.
    """
    names = [""] * len(images)
    for group in copied:
        for position in group:
            names[position] = COPIES + images[group[0]].digest[:12]
    by = parse_group_by(group_by)
    if by is None:
        return names, frozenset()
    keys = [by(image.below, image.columns) for image in images]
    if not any(keys):
        raise DatasetError(
            f"data.group_by {group_by!r} matches none of {len(keys)} images",
            hint="compare data.group_by with the paths of the images, or leave it empty",
        )
    return [key or name for key, name in zip(keys, names, strict=True)], frozenset(key for key in keys if key)


def _find_lookalikes(
    examples: Sequence[LabelledImage], alike: Sequence[Sequence[int]], *, declared: bool
) -> frozenset[str]:
    """Return the digests of the held-out images that are in one set with a training image, as `Dataset` defines them.

    Args:
        examples: The images.
        alike: Sets of images that look alike, beside the groups.
        declared: Whether the data declare the split.
    """
    named: dict[str, list[int]] = {}
    for position, example in enumerate(examples):
        named.setdefault(example.group_name, []).append(position)
    found = set[str]()
    for group in (*named.values(), *alike):
        trained = {examples[position].label for position in group if examples[position].split == "train"}
        for position in group:
            example = examples[position]
            if example.split == "val" and (example.label in trained or (declared and trained)):
                found.add(example.digest)
    return frozenset(found)


def _check_sides(dataset: Dataset) -> None:
    is_anomaly = any(item.kind for item in dataset.examples)
    for name, count in dataset.counts("train").items():
        if not count and not (is_anomaly and name == ANOMALOUS):
            raise DatasetError(f"the class {name} has no images left to train on", hint=f"add images to {name}")
    if not any(dataset.counts("val").values()):
        hint = (
            "add images to the folder val, or lines with the split val to the manifest"
            if dataset.declared
            else "add images, or raise train.val_fraction"
        )
        raise DatasetError("no images are held out to validate on", hint=hint)


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
    path, faults = mirror(place, cache / "remote", progress) if is_uri(place) else (Path(place), ())
    if path.name.lower().endswith(ARCHIVES) and not path.is_dir():
        path = unpack_once(path, cache / "unpacked", limit_bytes=int(data.unpacked_gb * 1e9))
    return path, faults


def read_images(
    path: Path, progress: TrainingProgress, *, good: str = ""
) -> tuple[Listing, list[LabelledImage], list[DataFault]]:
    """Find, hash and check the images of a local folder or manifest.

    Returns:
        listing: Listing of the images by name.
        images: The images that were read, without files that repeat the bytes of an earlier file.
        faults: Faults that were found.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV manifest.
        progress: Receives one step for each file.
        good: Name of the class of good images, which are `normal`, and all others `anomalous`; empty: as they are.

    Raises:
        DatasetError: There are no images, fewer than two classes, an empty class, or one image in two classes.
    """
    listing = load_listing(path)
    check_labels(listing, good)
    listing = judge_as_anomalies(listing, good) if good else listing
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
    """Yield every readable image, in order; add what is wrong with files to `faults`. Use every CPU.

    Copies of photos of the audit sample are left out: what judges a model is never trained on.
    """
    with (
        progress.phase("Reading images", len(listing.entries)) as step,
        ThreadPoolExecutor(max_workers=count_usable_cpus()) as pool,
    ):
        with disk_errors(listing.root):
            audit = {file_digest(photo.path): f"{AUDIT}/{photo.path.name}" for photo in listing.audit}
        for start in range(0, len(listing.entries), _CHUNK):
            chunk = listing.entries[start : start + _CHUNK]
            names = [image.path.relative_to(listing.root).as_posix() for image in chunk]
            for name, seen in zip(names, pool.map(_read, chunk, names), strict=True):
                step()
                copied = None if isinstance(seen, str) else audit.get(seen.digest)
                if isinstance(seen, str):
                    faults.append(DataFault(file=name, reason=seen))
                elif copied:
                    faults.append(DataFault(file=name, reason=f"it has the same bytes as {copied}"))
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
    image = replace(image, name=name, digest=digest, media_type=sniff(data))
    try:
        pixels = decode(data, at_least=near_duplicates.DECODED)
    except ImageError as error:
        return replace(image, fault=error.message)
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLED) ** 0.5))
    brightest = int(np.percentile(pixels[::step, ::step], 99.9))
    return replace(image, look=near_duplicates.fingerprint_pixels(pixels), brightest=brightest)

"""Labelled images, wherever they are > examples in local files, checked and split into training and validation.

The sides of an earlier run are kept. What is new is split by content: the sha256 of the files and the seed decide, so
that neither a file's name nor the machine matters. Every class holds out its share, and images that belong together
(copies of one photo, what `data.group_by` names) stay together as far as their number allows. A split that the data
declare is taken as it is, and copies across it are reported.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eaves.errors import DatasetError
from trainer.data.listing import DataFault, Listing, Split
from trainer.data.reading import ImageRecord, entry_name, find_local, read_images
from trainer.data.split import groups, splitting
from trainer.data.split.stored_split import SplitEntry
from trainer.progress import SilentProgress, TrainingProgress
from trainer.settings import DataSettings

IMBALANCED = 1.5
"""Largest class over smallest, above which `balance: auto` weights: below, weights change less than the seed does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled image.

    Attributes:
        path: The file.
        label: Index into the dataset's labels.
        digest: sha256 of its bytes, hex.
        split: Trained on (`train`) or held out (`val`).
        group: Name of the group that stays on one side; empty when the image is in none.
    """

    path: Path
    label: int
    digest: str
    split: Split
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled, split examples.

    Attributes:
        root: The local folder they are in.
        labels: Class names, sorted; an example's label is an index into them.
        examples: In order of class and path.
        faults: What was found wrong: files left out, and some that are `used` all the same.
        declared: Whether the split is the data's own.
        groups: Number of groups, of copies or by `data.group_by`.
        split_of: The run whose split is kept; empty when it is a new one.
        notes: What the split could not do, each a sentence for people.
        balance: `auto` or `none`: whether `class_weights` makes up for unequal classes.
    """

    root: Path
    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    faults: tuple[DataFault, ...]
    declared: bool
    groups: int = 0
    split_of: str = ""
    notes: tuple[str, ...] = ()
    balance: str = "auto"

    def counts(self, split: Split) -> dict[str, int]:
        """Class name to number of examples on one side."""
        count = Counter(example.label for example in self.examples if example.split == split)
        return {name: count[index] for index, name in enumerate(self.labels)}

    def imbalance(self) -> float:
        """Training images of the largest class per one of the smallest."""
        counts = self.counts("train").values()
        return max(counts) / min(counts)

    def class_weights(self) -> dict[int, float]:
        """Label to the weight of its training images in the loss; their mean over the training images is 1.

        Every class weighs the same in total when `balance` is `auto` and the classes are unequal; else all are 1.

        Source: King and Zeng, "Logistic Regression in Rare Events Data" (2001), section 4.2; scikit-learn's `balanced`.
        """
        counts = list(self.counts("train").values())
        if self.balance == "none" or self.imbalance() <= IMBALANCED:
            return dict.fromkeys(range(len(counts)), 1.0)
        return {label: sum(counts) / (len(counts) * count) for label, count in enumerate(counts)}

    def digest(self) -> str:
        """sha256 of what is trained on: contents, labels and sides, but no file names. Hex."""
        lines = sorted(f"{item.digest} {item.split} {self.labels[item.label]}\n" for item in self.examples)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def split_entries(self) -> list[SplitEntry]:
        """The lines of the run's `split.jsonl`."""
        return [
            SplitEntry(digest=item.digest, label=self.labels[item.label], split=item.split, group=item.group)
            for item in self.examples
        ]

    def without(self, faults: Collection[DataFault]) -> Dataset:
        """The dataset with more files found faulty and left out.

        Raises:
            DatasetError: When a class or the validation side has nothing left.
        """
        gone = {fault.file for fault in faults}
        kept = tuple(item for item in self.examples if str(item.path.relative_to(self.root)) not in gone)
        before = tuple(fault for fault in self.faults if not (fault.used and fault.file in gone))
        left = replace(self, examples=kept, faults=(*before, *faults))
        _check_sides(left)
        return left


def load_dataset(
    data: DataSettings,
    *,
    val_fraction: float,
    seed: int,
    cache: Path,
    known: Mapping[str, Split] | None = None,
    progress: TrainingProgress | None = None,
) -> Dataset:
    """The dataset that the settings name, downloaded and unpacked into `cache` as far as it isn't there already.

    Args:
        data: Where the images are.
        val_fraction: Share held out when the data declare no split.
        seed: Another seed, another split.
        cache: A local folder, kept between runs; the examples' files may be in it.
        known: Digest to side, of images that an earlier run has placed.
        progress: Told how far it is.

    Raises:
        DatasetError: As `scan`; nothing at the URI; an archive that isn't safe.
        StorageError: A URI that can't be reached, a full disk.
    """
    progress = progress or SilentProgress()
    path, faults = find_local(data, cache=cache, progress=progress)
    dataset = scan(
        path,
        val_fraction=val_fraction,
        seed=seed,
        near_copies=data.near_copies,
        group_by=data.group_by,
        known=known,
        progress=progress,
    )
    return replace(dataset, faults=(*faults, *dataset.faults), balance=data.balance)


def scan(
    path: Path,
    *,
    val_fraction: float,
    seed: int = 0,
    near_copies: str = "exact",
    group_by: str = "",
    known: Mapping[str, Split] | None = None,
    progress: TrainingProgress | None = None,
) -> Dataset:
    """Find, hash, check and split the images of a local folder or manifest.

    Args:
        path: A folder per class; `train` and `val`, each a folder per class; or a CSV or JSONL manifest.
        val_fraction: Share held out when the data declare no split.
        seed: Another seed, another split.
        near_copies: As `data.near_copies`.
        group_by: As `data.group_by`.
        known: Digest to side, of images that an earlier run has placed.
        progress: Told about every file read.

    Raises:
        DatasetError: No images, fewer than two classes, a class of fewer than 4 images, one image in two classes,
            nothing to validate on.
    """
    found = read_images(path, progress or SilentProgress())
    listing, first, faults = found.listing, found.seen, list(found.faults)
    labels = [listing.labels.index(item.entry.label) for item in first]
    digests = [item.digest for item in first]
    copied = groups.group_copies([item.look for item in first], digests, labels, near_copies)
    names, by_person = _group_names(first, copied, group_by)
    notes: list[str] = []
    if listing.declared:
        of = [item.entry.split or "train" for item in first]
    else:
        items = [
            splitting.SplitImage(digest=item.digest, label=item.entry.label, group=name)
            for item, name in zip(first, names, strict=True)
        ]
        placed = splitting.assign_sides(items, fraction=val_fraction, seed=seed, known=known or {})
        of = list(placed.of)
        notes.extend(_notes(placed.parted))
    examples = [
        Example(path=item.entry.path, label=label, digest=item.digest, split=side, group=name)
        for item, label, side, name in zip(first, labels, of, names, strict=True)
    ]
    for group in copied:
        faults.extend(_near_faults(listing, [examples[position] for position in sorted(group)]))
    dataset = Dataset(
        root=listing.root,
        labels=listing.labels,
        examples=tuple(sorted(examples, key=lambda item: (item.label, str(item.path)))),
        faults=tuple(faults),
        declared=listing.declared,
        groups=len(by_person) or len(copied),
        notes=tuple(notes),
    )
    _check_sides(dataset)
    return dataset


def _group_names(
    first: Sequence[ImageRecord], copied: Sequence[Sequence[int]], group_by: str
) -> tuple[list[str], frozenset[str]]:
    """The group of each image, and the groups that a person named.

    A person's word comes first: copies in two of their groups don't join these. An image that it leaves out follows its
    copies.
    """
    names = [""] * len(first)
    for group in copied:
        name = groups.COPIES + first[group[0]].digest[:12]
        for position in group:
            names[position] = name
    by = groups.parse_group_by(group_by)
    if by is None:
        return names, frozenset()
    keys = [by.key(item.entry.below, item.entry.columns) for item in first]
    groups.check_used(group_by, keys)
    return [key or name for key, name in zip(keys, names, strict=True)], frozenset(key for key in keys if key)


def _notes(parted: Mapping[str, int]) -> Iterator[str]:
    if parted:
        groups_are = "1 group are" if len(parted) == 1 else f"{len(parted)} groups are"
        yield (
            f"{sum(parted.values())} images of {groups_are} on both sides of the split: their classes have too few "
            "other images to hold out, or an earlier run had placed them; accuracy may be overestimated"
        )


def _near_faults(listing: Listing, group: Sequence[Example]) -> Iterator[DataFault]:
    """Twins that are on both sides of a declared split, or in two classes: used, but somebody should look."""
    held = next((item for item in group if item.split == "val"), None)
    for item in group:
        if held and item.split == "train":
            reason = f"nearly the same picture as {entry_name(listing, held.path)}, which is held out"
        elif item.label != group[0].label:
            reason = f"nearly the same picture as {entry_name(listing, group[0].path)}, which is in another class"
        else:
            continue
        yield DataFault(file=entry_name(listing, item.path), reason=reason, used=True)


def _check_sides(dataset: Dataset) -> None:
    for name, count in dataset.counts("train").items():
        if not count:
            raise DatasetError(f"the class {name} has no images left to train on", hint=f"add images to {name}")
    if not any(dataset.counts("val").values()):
        hint = "add images to val" if dataset.declared else "add images, or hold out a larger fraction of them"
        raise DatasetError("no images are left to validate on", hint=hint)

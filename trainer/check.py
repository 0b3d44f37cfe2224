"""Inspects labelled images before training: reads every file once and reports what training would find.

The inspection changes, moves and deletes no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eaves.errors import DatasetError
from trainer.data.listing import DataFault, Listing, check_labels
from trainer.data.reading import (
    ImageRecord,
    Repeat,
    describe_black,
    drop_repeats,
    load_listing,
    read_records,
)
from trainer.data.split.groups import group_copies
from trainer.data.split.proposals import propose_group_by
from trainer.data.unused_files import Cause, group_by_cause
from trainer.progress import TrainingProgress

MIN_IMAGES = 4
"""Minimum number of images in a class: 2 to train on and 2 to hold out."""


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
    """

    root: Path
    problems: tuple[str, ...]
    classes: dict[str, int]
    not_used: tuple[Cause, ...]
    copies: tuple[tuple[ImageRecord, ...], ...]
    copies_across: tuple[tuple[ImageRecord, ...], ...]
    notes: tuple[str, ...]
    images: tuple[ImageRecord, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON."""
        return {
            "root": str(self.root),
            "problems": list(self.problems),
            "classes": self.classes,
            "not_used": [{"reason": cause.reason, "files": list(cause.files)} for cause in self.not_used],
            "copies": [[image.name for image in group] for group in self.copies],
            "copies_across_classes": [[image.name for image in group] for group in self.copies_across],
            "notes": list(self.notes),
        }


def inspect_data(path: Path, *, progress: TrainingProgress, faults: Collection[DataFault] = ()) -> Inspection:
    """Read every file below `path` and report what training would find.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV manifest.
        progress: Receives one step for each file.
        faults: Files that were left out already, when the images were downloaded.

    Raises:
        DatasetError: `path` can't be read at all.
    """
    listing = load_listing(path)
    left_out = [*faults, *listing.faults]
    records = list(read_records(listing, left_out, progress))
    left_out += [DataFault(file=record.name, reason=record.fault) for record in records if record.fault]
    usable = [record for record in records if not record.fault]
    kept, repeats = drop_repeats(usable, left_out)
    groups, notes = _find_copies(usable, listing, progress)
    black = describe_black(kept)
    counts = Counter(image.label for image in kept)
    across = [group for group in groups if len({image.label for image in group}) > 1]
    return Inspection(
        root=listing.root,
        problems=tuple(_problems(listing, counts, repeats)),
        classes={label: counts[label] for label in listing.labels},
        not_used=tuple(group_by_cause(left_out)),
        copies=tuple(group for group in groups if group not in across),
        copies_across=tuple(map(_order, across)),
        notes=tuple(filter(None, (black, *notes))),
        images=tuple(kept),
    )


def _find_copies(
    images: Sequence[ImageRecord], listing: Listing, progress: TrainingProgress
) -> tuple[list[tuple[ImageRecord, ...]], tuple[str, str]]:
    """Return sets of images that show the same picture, and the notes on a fixed camera and on `data.group_by`."""
    digests, labels = [image.digest for image in images], [listing.labels.index(image.label) for image in images]
    found = group_copies([image.look for image in images], digests, labels, "similar", progress)
    group_of = {position: digests[group[0]] for group in found.groups for position in group}
    proposal = propose_group_by(
        [image.entry.below for image in images],
        [image.label for image in images],
        [image.taken for image in images],
        [group_of.get(row, digest) for row, digest in enumerate(digests)],
    )
    copies = sorted(map(sorted, found.copies))
    return [tuple(images[position] for position in group) for group in copies], (found.note, proposal)


def _order(group: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
    """Return the images of a set in several classes: one of each class, then the others."""
    first = {image.label: image for image in reversed(group)}.values()
    shown = {image.name for image in first}
    return (*reversed(first), *(image for image in group if image.name not in shown))


def _problems(listing: Listing, counts: Counter[str], repeats: Sequence[Repeat]) -> Iterator[str]:
    """Yield the reasons why training would refuse the dataset."""
    try:
        check_labels(listing)
    except DatasetError as error:
        yield error.message
        return
    for label in listing.labels:
        if counts[label] < MIN_IMAGES:
            yield f"the class {label} has {counts[label]} usable images; training needs {MIN_IMAGES}"
    for (one, _), (other, _) in repeats:
        yield f"the same image is in several classes: {one}, {other}"

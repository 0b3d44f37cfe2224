"""Inspects labelled images before training: reads every file once and reports what training would find.

The inspection changes, moves and deletes no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eaves.errors import ConfigError, DatasetError
from trainer.data.dataset import describe_black, drop_repeats, read_records
from trainer.data.groups import group_copies, propose_group_by
from trainer.data.listing import (
    Cause,
    DataFault,
    LabelledImage,
    Listing,
    check_labels,
    group_by_cause,
    load_listing,
)
from trainer.data.splitting import check_sizes
from trainer.model.label_doubts import compute_evened, judge_labels
from trainer.model.linear_head import LabelledRows
from trainer.progress import TrainingProgress
from trainer.storage import FileStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Result of inspecting a dataset.

    Attributes:
        root: Folder of the dataset.
        problems: Reasons why training would refuse the dataset, each one sentence.
        images: Number of usable images, without files that repeat the bytes of an earlier file.
        classes: Name of each class to its number of usable images.
        not_used: Files that training would leave out, by cause.
        copies: Sets of images of one class that show the same or nearly the same picture, by name.
        copies_across_classes: Sets of images in two or more classes that show the same or nearly the same picture.
        notes: Sentences for people about the images as a whole: nearly black, by a fixed camera, a `data.group_by`.
        judgement: How many labels the other images predict, or why labels aren't judged; one sentence.
        doubtful_labels: `file`, `label` and `looks_like` (a class) of each image whose label is doubtful, the most
            doubtful first.
    """

    root: str
    problems: list[str]
    images: int
    classes: dict[str, int]
    not_used: list[Cause]
    copies: list[list[str]]
    copies_across_classes: list[list[str]]
    notes: list[str]
    judgement: str
    doubtful_labels: list[dict[str, str]]


def inspect_data(
    path: Path,
    *,
    features: FileStore,
    progress: TrainingProgress,
    faults: Collection[DataFault] = (),
    good: str = "",
    side: int = 0,
) -> Inspection:
    """Read every file below `path` and report what training would find.

    Args:
        path: A folder with one subfolder per class, a folder with such folders `train` and `val`, or a CSV manifest.
        features: Storage of cached features; a training finds there what is computed here.
        progress: Receives one step for each file.
        faults: Files that were left out already, when the images were downloaded.
        good: Name of the class that alone is trained on; empty: all classes are.
        side: Side of the input of the network that judges labels, pixels; 0 is its default.

    Raises:
        DatasetError: `path` can't be read at all.
    """
    listing = load_listing(path)
    left_out = [*faults, *listing.faults]
    records = list(read_records(listing, left_out, progress))
    left_out += [DataFault(file=record.name, reason=record.fault) for record in records if record.fault]
    usable = [record for record in records if not record.fault]
    kept, repeats = drop_repeats(usable, left_out)
    groups, notes = _find_copies(usable, progress)
    counts = Counter(image.label for image in kept)
    names = [[image.name for image in group] for group in groups]
    across = [len({image.label for image in group}) > 1 for group in groups]
    problems = list(_problems(listing, counts, repeats, good))
    doubtful, judgement = list[dict[str, str]](), ""
    if not (problems or notes[0] or good):  # by a fixed camera, an image looks like all others
        doubtful, judgement = _judge_labels(kept, features, progress, side)
    return Inspection(
        root=str(listing.root),
        problems=problems,
        images=len(kept),
        classes={label: counts[label] for label in listing.labels},
        not_used=group_by_cause(left_out),
        copies=[group for group, is_across in zip(names, across, strict=True) if not is_across],
        copies_across_classes=[group for group, is_across in zip(names, across, strict=True) if is_across],
        notes=list(filter(None, (*listing.notes, describe_black(kept), *notes))),
        judgement=judgement,
        doubtful_labels=doubtful,
    )


def _judge_labels(
    images: Sequence[LabelledImage], store: FileStore, progress: TrainingProgress, side: int
) -> tuple[list[dict[str, str]], str]:
    """Compare the labels with predictions by features of the default network; return doubtful ones and a sentence."""
    names = sorted({image.label for image in images})
    try:
        features = compute_evened(images, store, progress, side=side)
    except (ConfigError, DatasetError) as error:  # an image can't be read, or the weights aren't installed
        return [], f"labels are not judged: {error.message}"
    # Images that look alike are not in one fold: a burst would be the only one of its class.
    judged = judge_labels(features, LabelledRows.of([names.index(image.label) for image in images]))
    can_doubt, sentence = judged.describe(names)
    if not can_doubt:
        return [], sentence
    doubtful = [
        {"file": images[row].name, "label": images[row].label, "looks_like": names[judged.predicted[row]]}
        for row in judged.find_doubtful()
    ]
    return doubtful, f"{sentence}; {len(doubtful)} {'is' if len(doubtful) == 1 else 'are'} doubtful"


def _find_copies(
    images: Sequence[LabelledImage], progress: TrainingProgress
) -> tuple[list[list[LabelledImage]], tuple[str, str]]:
    """Return sets of images that show the same picture, and the notes on a fixed camera and on `data.group_by`."""
    found, digests = group_copies(images, "similar", progress), [image.digest for image in images]
    group_of = {position: digests[group[0]] for group in found.groups for position in group}
    proposal = propose_group_by(images, [group_of.get(row, digest) for row, digest in enumerate(digests)])
    return [[images[row] for row in group] for group in sorted(map(sorted, found.copies))], (found.note, proposal)


def _problems(listing: Listing, counts: Counter[str], repeats: Sequence[tuple[str, str]], good: str) -> Iterator[str]:
    """Yield the reasons why training would refuse the dataset."""
    try:
        check_labels(listing, good)
        check_sizes({label: counts[label] for label in listing.labels if label == good or not good})
    except DatasetError as error:
        yield f"{error.message}; {error.hint}" if error.hint else error.message
    for one, other in repeats:
        yield f"the same image is in several classes: {one}, {other}"

"""Finds which images a run was trained on and which it held out, from the files of the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from eaves.errors import ConversionError, RunError
from trainer.data.listing import Split
from trainer.data.reading import DatasetImages
from trainer.data.split.legacy_split import sides_before
from trainer.data.split.stored_split import SPLIT_FILE, SplitEntry, find_trained_mates, parse_split, sides
from trainer.run.run import MANIFEST

_AGAIN = "train the model again"


def load_sides(run: Path, images: DatasetImages) -> Mapping[str, Split]:
    """Load the side of every image that the run was trained on or held out, by digest.

    An older run without `split.jsonl` stores no sides: its split is computed from the current images and used if the
    digest in run.json matches.

    Args:
        run: Directory of the run.
        images: Current images at `data.path`.

    Raises:
        ConversionError: The run stores no sides, or its images have changed since it was trained.
    """
    stored = load_stored_sides(run)
    return stored if stored is not None else _sides_before(run, images)


def load_groups(run: Path) -> Mapping[str, str]:
    """Load the name of the group of each image of a run, by digest; an image in none is missing.

    Raises:
        ConversionError: The run's `split.jsonl` can't be read.
    """
    return {digest: entry.group for digest, entry in (_load_split(run) or {}).items() if entry.group}


def load_trained_mates(run: Path) -> frozenset[str]:
    """Load the digests of the held-out images in whose group an image of their class was trained on.

    Raises:
        ConversionError: The run's `split.jsonl` can't be read.
    """
    return find_trained_mates(_load_split(run) or {})


def load_stored_sides(run: Path) -> Mapping[str, Split] | None:
    """Load the stored side of each image by digest, even of missing images; None for an older run without a split.

    Raises:
        ConversionError: The run's `split.jsonl` can't be read.
    """
    split = _load_split(run)
    return None if split is None else sides(split)


def _load_split(run: Path) -> Mapping[str, SplitEntry] | None:
    file = run / SPLIT_FILE
    try:
        return parse_split(file.read_text(encoding="utf-8"), str(file)) if file.is_file() else None
    except (OSError, UnicodeDecodeError, RunError) as error:
        raise ConversionError(f"{file} can't be read: {error}", hint=_AGAIN) from error


def _sides_before(run: Path, images: DatasetImages) -> Mapping[str, Split]:
    try:
        train = json.loads((run / "config.json").read_text(encoding="utf-8"))["train"]
        about = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
        fraction, seed, wanted = float(train["val_fraction"]), int(train["seed"]), str(about["dataset"]["sha256"])
        left_out = {fault["file"] for fault in about["data_faults"] if not fault.get("used")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(f"the run {run} does not list its held-out images", hint=_AGAIN) from error
    computed = _compute(images, fraction, seed)
    used = [
        (item.digest, side, item.entry.label)
        for item, side in zip(images.seen, computed, strict=True)
        if item.entry.path.relative_to(images.listing.root).as_posix() not in left_out
    ]
    lines = sorted(f"{digest} {side} {label}\n" for digest, side, label in used)
    if hashlib.sha256("".join(lines).encode()).hexdigest() != wanted:
        raise ConversionError(
            f"the run {run} does not list its held-out images, and the images have changed since the training",
            hint=_AGAIN,
        )
    return {digest: side for digest, side, _ in used}


def _compute(images: DatasetImages, fraction: float, seed: int) -> Sequence[Split]:
    if images.listing.declared:
        return [item.entry.split or "train" for item in images.seen]
    return sides_before([item.digest for item in images.seen], [item.look for item in images.seen], fraction, seed)

"""Finds which images a run was trained on and which it held out, from the files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eaves.errors import ConversionError, RunError
from trainer.data.listing import Split
from trainer.data.split.stored_split import SPLIT_FILE, SplitEntry, find_trained_mates, parse_split, sides

_AGAIN = "train the model again"


def load_sides(run: Path) -> Mapping[str, Split]:
    """Load the side of every image that the run was trained on or held out, by digest.

    Raises:
        ConversionError: The run stores no sides, or they can't be read.
    """
    stored = load_stored_sides(run)
    if stored is None:
        raise ConversionError(f"the run {run} does not list its held-out images: it has no {SPLIT_FILE}", hint=_AGAIN)
    return stored


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
    """Load the stored side of each image by digest, even of missing images; None for a run without a split.

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

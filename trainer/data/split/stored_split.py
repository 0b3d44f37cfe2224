"""Reads and writes `split.jsonl`: the side, label and group of every image of a run, by the digest of its bytes.

A run decides its split once and keeps it in this file. Later runs keep the sides, and conversion evaluates by them, so
that an image that was trained on never counts as held out. One line describes one image:

    {"digest": "9f86d0...", "label": "daisy", "split": "val", "group": ""}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from eaves.errors import RunError
from trainer.data.listing import DECLARED, Split

SPLIT_FILE = "split.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEntry:
    """The place of one image in a run's split.

    Attributes:
        digest: sha256 of the file's bytes, hex.
        label: Name of its class.
        split: `train` (trained on) or `val` (held out).
        group: Name of the image's group; empty when it was in none.
    """

    digest: str
    label: str
    split: Split
    group: str = ""


def render_split(entries: Iterable[SplitEntry]) -> str:
    """Return the text of a `split.jsonl`, sorted by digest, so that the same split gives the same bytes."""
    ordered = sorted(entries, key=lambda entry: entry.digest)
    # A folder's name may hold bytes that are not valid text; JSON's escapes carry them.
    return "".join(json.dumps(asdict(entry)) + "\n" for entry in ordered)


def parse_split(text: str, origin: str) -> dict[str, SplitEntry]:
    """Parse a `split.jsonl` into digest and entry of each image.

    Args:
        text: Content of a `split.jsonl`.
        origin: Name of the file, for messages.

    Raises:
        RunError: A line is not an entry.
    """
    entries: dict[str, SplitEntry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = SplitEntry(**json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise _unreadable(origin, number, str(error)) from error
        if not all(isinstance(value, str) for value in asdict(entry).values()) or entry.split not in DECLARED:
            raise _unreadable(origin, number, f"the split must be train or val (got {entry.split!r})")
        entries[entry.digest] = entry
    return entries


def sides(entries: Mapping[str, SplitEntry]) -> dict[str, Split]:
    """Return the side of each image by its digest, without labels and groups."""
    return {digest: entry.split for digest, entry in entries.items()}


def find_trained_mates(entries: Mapping[str, SplitEntry]) -> frozenset[str]:
    """Return the digests of the held-out images in whose group an image of their class was trained on."""
    trained = {(entry.group, entry.label) for entry in entries.values() if entry.group and entry.split == "train"}
    return frozenset(
        digest for digest, entry in entries.items() if entry.split == "val" and (entry.group, entry.label) in trained
    )


def _unreadable(origin: str, number: int, reason: str) -> RunError:
    return RunError(f"{origin}: line {number} can't be read: {reason[:120]}", hint="train the model again")

"""Reads and writes `split.jsonl`: the side, label and group of every image of a run, by the digest of its bytes.

A run decides its split once and keeps it in this file. Later runs keep the sides, and conversion evaluates by them, so
that an image that was trained on never counts as held out. One line describes one image:

    {"digest": "9f86d0...", "label": "daisy", "split": "val", "group": ""}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from eaves.errors import RunError
from trainer.data.listing import DECLARED, Split

SPLIT_FILE = "split.jsonl"
Entry = TypeVar("Entry")


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
    """Return the text of a `split.jsonl`."""
    return render_lines(entries)


def parse_split(text: str, origin: str) -> dict[str, SplitEntry]:
    """Parse a `split.jsonl` into digest and entry of each image; errors name the file `origin`.

    Raises:
        RunError: A line is not an entry.
    """

    def parse(values: dict[str, Any]) -> SplitEntry:
        entry = SplitEntry(**values)
        if not all(isinstance(value, str) for value in values.values()) or entry.split not in DECLARED:
            raise ValueError(f"the split must be train or val (got {entry.split!r})")
        return entry

    return parse_lines(text, origin, parse)


def render_lines(entries: Iterable[Any]) -> str:
    """Return a line of JSON for each dataclass with a `digest`, sorted by it: equal entries give equal bytes."""
    ordered = sorted(entries, key=lambda entry: str(entry.digest))
    # A folder's name may hold bytes that are not valid text; JSON's escapes carry them.
    return "".join(json.dumps(asdict(entry)) + "\n" for entry in ordered)


def parse_lines(text: str, origin: str, parse: Callable[[dict[str, Any]], Entry]) -> dict[str, Entry]:
    """Return the entry of each line of JSON in a run's file, by its `digest`.

    Raises:
        RunError: A line is not an entry.
    """
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            values = json.loads(line)
            found[values["digest"]] = parse(values)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise RunError(
                f"{origin}: line {number} can't be read: {str(error)[:120]}", hint="train the model again"
            ) from error
    return found


def sides(entries: Mapping[str, SplitEntry]) -> dict[str, Split]:
    """Return the side of each image by its digest, without labels and groups."""
    return {digest: entry.split for digest, entry in entries.items()}


def find_trained_mates(entries: Mapping[str, SplitEntry]) -> frozenset[str]:
    """Return the digests of the held-out images in whose group an image of their class was trained on."""
    trained = {(entry.group, entry.label) for entry in entries.values() if entry.group and entry.split == "train"}
    return frozenset(
        digest for digest, entry in entries.items() if entry.split == "val" and (entry.group, entry.label) in trained
    )

"""Reads and writes the files of a run that have a line for each image, by the digest of its bytes.

`split.jsonl` has the side, label and group of every image, `held_out.jsonl` the model's answer to every held-out one:
with it a person can look at the images that a model mistakes without running it again.

A run decides its split once and keeps it in this file. Later runs keep the sides, and conversion evaluates by them, so
that an image that was trained on never counts as held out. A line of each file:

    {"digest": "9f86d0...", "label": "daisy", "split": "val", "group": ""}
    {"digest": "9f86d0...", "file": "daisy/12.jpg", "label": "daisy", "predicted": "rose", "score": 0.71, "group": ""}

A new run on the same images keeps the split of the first of these that exists: the run at the output, the unfinished
run at the output, the newest run beside the output that was trained on the same `data.path`. It does not when a setting
that decides the split has changed since; `train.seed` is none of these, because trainings with several seeds are
compared on one split.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from eaves.errors import RunError
from trainer.data.listing import Split
from trainer.data.remote import redact_uri
from trainer.data.split.splitting import SplitEntry
from trainer.storage import FileStore

SPLIT_FILE, HELD_OUT_FILE = "split.jsonl", "held_out.jsonl"
Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutAnswer:
    """The model's answer to one held-out image.

    Attributes:
        digest: sha256 of the file's bytes, hex.
        file: Path of the file relative to the dataset's root, which is `dataset.root` in run.json.
        label: Name of the image's class.
        predicted: Name of the class that the model gives it.
        score: Score of that class, 0 to 1, as served.
        group: Name of the image's group; empty when it is in none.
    """

    digest: str
    file: str
    label: str
    predicted: str
    score: float
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse a score that a damaged file names."""
        if not math.isfinite(self.score):
            raise ValueError("the score must be a number")


def parse_split(text: str, origin: str) -> dict[str, SplitEntry]:
    """Parse a `split.jsonl` into digest and entry of each image; errors name the file `origin`.

    Raises:
        RunError: A line is not an entry.
    """
    return parse_lines(text, origin, SplitEntry)


def parse_held_out(text: str, origin: str) -> dict[str, HeldOutAnswer]:
    """Parse a `held_out.jsonl` into digest and answer of each image; errors name the file `origin`.

    Raises:
        RunError: A line is not an answer.
    """
    return parse_lines(text, origin, HeldOutAnswer)


def render_lines(entries: Iterable[Any]) -> str:
    """Return a line of JSON for each dataclass with a `digest`, sorted by it: equal entries give equal bytes."""
    ordered = sorted(entries, key=lambda entry: str(entry.digest))
    # A folder's name may hold bytes that are not valid text; JSON's escapes carry them.
    return "".join(json.dumps(asdict(entry)) + "\n" for entry in ordered)


def parse_lines(text: str, origin: str, kind: Callable[..., Entry]) -> dict[str, Entry]:
    """Return the entry of each line of JSON in a run's file, by its `digest`.

    Raises:
        RunError: A line is not an entry.
    """
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            values = json.loads(line)
            if not all(isinstance(value, str) for name, value in values.items() if name != "score"):
                raise ValueError("a text is expected")
            found[values["digest"]] = kind(**values)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise RunError(
                f"{origin}: line {number} can't be read: {str(error)[:120]}", hint="train the model again"
            ) from error
    return found


def find_trained_mates(entries: Mapping[str, SplitEntry]) -> frozenset[str]:
    """Return the digests of the held-out images in whose group an image of their class was trained on."""
    trained = {(entry.group, entry.label) for entry in entries.values() if entry.group and entry.split == "train"}
    return frozenset(
        digest for digest, entry in entries.items() if entry.split == "val" and (entry.group, entry.label) in trained
    )


LINK = "latest"
"""Name of the symbolic link to the newest run; it is skipped in listings, because the run is listed by its own name."""
DECIDING = ("data.near_copies", "data.group_by", "train.val_fraction")
"""Settings that decide the split."""
CONFIG = "config.json"
"""Name of the file with all settings of a run; those of an unfinished run are beside its checkpoints."""
_MANIFEST = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSplit:
    """The sides that an earlier run gave its images.

    Attributes:
        origin: Path or URI of the run; empty when there is none.
        known: Digest and side of each image.
        note: Sentence for people when settings that decide the split have changed since; else empty.
    """

    origin: str = ""
    known: Mapping[str, Split] = field(default_factory=dict)
    note: str = ""


def find_earlier(
    config: Mapping[str, Mapping[str, Any]], *, run: FileStore, unfinished: FileStore, beside: FileStore
) -> EarlierSplit:
    """Find the split that a training keeps; return one without images for a new split.

    Args:
        config: Settings of the training, as config.json stores them.
        run: Location of the new run.
        unfinished: Location of the run's checkpoints.
        beside: Location above the new run, which may hold other runs.

    Raises:
        RunError: A split can't be read.
        StorageError: The storage can't be read.
    """
    newest = next((store for store in (run, unfinished) if store.exists(SPLIT_FILE)), None)
    newest = newest or next(_same_data(beside, config["data"]["path"]), None)
    if newest is None:
        return EarlierSplit()
    if changes := _find_changes(newest, config):
        note = f"the split is new, because {changes} since {redact_uri(newest.uri)} was trained"
        return EarlierSplit(note=f"{note}; earlier accuracies are not comparable with the new one")
    entries = parse_split(newest.read(SPLIT_FILE).decode(), f"{newest.uri.rstrip('/')}/{SPLIT_FILE}")
    return EarlierSplit(origin=newest.uri, known={digest: entry.split for digest, entry in entries.items()})


def _find_changes(store: FileStore, config: Mapping[str, Mapping[str, Any]]) -> str:
    """Return in words which settings that decide the split differ from those of a run; empty when none does."""
    before, changes = _json(store, CONFIG), []
    for name in DECIDING:
        section, _, key = name.partition(".")
        values, value = before.get(section), config[section][key]
        if isinstance(values, dict) and values.get(key, value) != value:
            changes.append(f"{name} has changed from {values[key]!r} to {value!r}")
    return " and ".join(changes)


def _same_data(beside: FileStore, data_path: str) -> Iterator[FileStore]:
    """Yield runs with a split that were trained on the same `data.path`, the newest first."""
    stores = [beside.at(name) for name in beside.folders() if name != LINK and not name.startswith(".")]
    dated = [
        (str(about.get("created", "")), store.uri, store) for store in stores if (about := _json(store, _MANIFEST))
    ]
    for _, _, store in sorted(dated, key=lambda item: item[:2], reverse=True):
        data = _json(store, CONFIG).get("data")
        if isinstance(data, dict) and data.get("path") == data_path and store.exists(SPLIT_FILE):
            yield store


def _json(store: FileStore, name: str) -> dict[str, Any]:
    """Load the object of a JSON file; return an empty dict when the file doesn't exist or holds something else."""
    if not store.exists(name):
        return {}
    try:
        values = json.loads(store.read(name))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}

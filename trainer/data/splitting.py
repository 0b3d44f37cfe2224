"""Decides which images are held out: a share of each class, in whole groups; earlier images keep their sides.

Only the images' digests, their groups and the seed decide the sides; names only where `data.group_by` asks for it.

A run decides its split once and keeps it in `split.jsonl`: the side, label and group of every image. Later runs keep
the sides, and conversion evaluates by them, so that an image that was trained on never counts as held out.
`held_out.jsonl` has the model's answer to every held-out image: with it a person can look at the images that a model
mistakes without running it again. A line of each file:

    {"digest": "9f86d0...", "label": "daisy", "split": "val", "group": ""}
    {"digest": "9f86d0...", "file": "daisy/12.jpg", "label": "daisy", "predicted": "rose", "score": 0.71, "group": ""}

A new run on the same images keeps the split of the first of these that exists: the run at the output, the unfinished
run at the output, the newest run beside the output that was trained on the same `data.path`. It does not when a setting
that decides the split has changed since; `train.seed` is none of these, because trainings with several seeds are
compared on one split.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from eaves.dataset_folder import DECLARED, Split
from eaves.errors import DatasetError, RunError
from trainer.data.listing import LabelledImage
from trainer.data.remote import redact_uri
from trainer.storage import FileStore

MIN_PER_SIDE = 2
"""Minimum number of images of a class on each side; with one image, a class's accuracy is either 0 or 1."""
MAX_HELD_OUT_SHARE = 0.5
"""Maximum share of a class that is held out when a whole group exceeds `fraction`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEntry:
    """The place of one image in a split.

    Attributes:
        digest: sha256 of the file's bytes, hex.
        label: Name of its class.
        split: `train` (trained on) or `val` (held out).
        group: Name of the image's group; empty when it is in none.
    """

    digest: str
    label: str
    split: Split = "train"
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse a split that a damaged file names."""
        if self.split not in DECLARED:
            raise ValueError(f"the split must be train or val (got {self.split!r})")


def assign_sides(
    items: Sequence[SplitEntry | LabelledImage], *, fraction: float, seed: int, known: Mapping[str, Split]
) -> tuple[list[Split], dict[str, int]]:
    """Assign every image to a side of the split.

    A class of n images holds out about `fraction` * n of them, at least 2 and at most n - 2. A group is on one side as
    a whole, except where the groups of a class are too large for that: then groups are split over both sides.

    Args:
        items: The images; each digest occurs once.
        fraction: Share of each class that is held out.
        seed: Seed of the split; another seed gives another split.
        known: Digest and side of each image that an earlier run has placed; these stay on their side, and new images of
            their groups follow them.

    Returns:
        sides: Side of each image, in the order of the images.
        parted: Name of every group that is on both sides, and its number of images.

    Raises:
        DatasetError: A class has fewer than 4 images, or the known sides leave it fewer than 2 on a side.
    """
    check_sizes(Counter(item.label for item in items))
    placing = _Placing(items, fraction, seed, known)
    placing.follow()
    placing.fill()
    placing.overfill()
    placing.part()
    sides = placing.sides()
    _check_sides(items, sides, bool(known))
    placed: dict[str, list[Split]] = {}
    for item, side in zip(items, sides, strict=True):
        placed.setdefault(item.group, []).append(side)
    return sides, {name: len(both) for name, both in placed.items() if name and len(set(both)) > 1}


class _Placing:
    """State of a split while it is computed: the images that are held out so far; all other images are trained on."""

    def __init__(
        self, items: Sequence[SplitEntry | LabelledImage], fraction: float, seed: int, known: Mapping[str, Split]
    ) -> None:
        self._items, self._known = items, known
        self._sizes = Counter(item.label for item in items)
        self._targets = {
            label: min(max(MIN_PER_SIDE, round(fraction * size)), size - MIN_PER_SIDE)
            for label, size in self._sizes.items()
        }
        self._val = {position for position, item in enumerate(items) if known.get(item.digest) == "val"}
        self._held = Counter(items[position].label for position in self._val)
        blocks: dict[str, list[int]] = {}
        for position in sorted(range(len(items)), key=lambda position: items[position].digest):
            blocks.setdefault(items[position].group or items[position].digest, []).append(position)
        self._blocks = sorted(
            blocks.values(), key=lambda block: hashlib.sha256(f"{seed}:{items[block[0]].digest}".encode()).digest()
        )

    def sides(self) -> list[Split]:
        return ["val" if position in self._val else "train" for position in range(len(self._items))]

    def follow(self) -> None:
        """Hold out the new images of each group whose known images were all held out by an earlier run."""
        for block in self._blocks:
            placed = {self._known.get(self._items[position].digest) for position in block}
            new = [position for position in block if self._items[position].digest not in self._known]
            if new and "val" in placed and "train" not in placed and self._fits(new, self._limits()):
                self._hold(new)

    def fill(self) -> None:
        """Hold out groups and single images as long as no class exceeds its share."""
        for block in self._free():
            if self._fits(block, self._targets):
                self._hold(block)

    def overfill(self) -> None:
        """Hold out the smallest free groups that contain a class while too few of its images are held out."""
        limits = self._limits()
        for label in sorted(self._targets):
            while self._lacks(label):
                fitting = [
                    block for block in self._free() if label in self._labels(block) and self._fits(block, limits)
                ]
                if not fitting:
                    break
                self._hold(min(fitting, key=len))

    def part(self) -> None:
        """Hold out single images of each class with too few held out, group after group, until it has enough."""
        for label in sorted(self._targets):
            if not self._lacks(label):
                continue
            for block in self._blocks:
                for position in block:
                    new = position not in self._val and self._items[position].digest not in self._known
                    if new and self._items[position].label == label and self._held[label] < self._targets[label]:
                        self._hold([position])

    def _free(self) -> list[list[int]]:
        """Return the groups and single images of which no image is held out or has a side from an earlier run."""
        return [
            block
            for block in self._blocks
            if not any(item in self._val or self._items[item].digest in self._known for item in block)
        ]

    def _limits(self) -> dict[str, int]:
        return {label: int(size * MAX_HELD_OUT_SHARE) for label, size in self._sizes.items()}

    def _lacks(self, label: str) -> bool:
        return self._held[label] < max(MIN_PER_SIDE, self._targets[label] / 2)

    def _labels(self, block: Sequence[int]) -> Counter[str]:
        return Counter(self._items[position].label for position in block)

    def _fits(self, block: Sequence[int], limits: Mapping[str, float]) -> bool:
        return all(self._held[label] + count <= limits[label] for label, count in self._labels(block).items())

    def _hold(self, block: Sequence[int]) -> None:
        self._val.update(block)
        self._held += self._labels(block)


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Check that every class can be split.

    Raises:
        DatasetError: A class has fewer than 4 images.
    """
    few = [f"{label} has {size}" for label, size in sorted(sizes.items()) if size < 2 * MIN_PER_SIDE]
    if few:
        raise DatasetError(
            f"a class needs 4 images, 2 to train on and 2 to hold out, but {', '.join(few)}",
            hint="add images to the class, or remove it",
        )


def _check_sides(items: Sequence[SplitEntry | LabelledImage], of: Sequence[Split], known: bool) -> None:
    counts = Counter((item.label, side) for item, side in zip(items, of, strict=True))
    for label in sorted({item.label for item in items}):
        held, trained = counts[label, "val"], counts[label, "train"]
        if min(held, trained) < MIN_PER_SIDE:
            raise DatasetError(
                f"the class {label} has {trained} images to train on and {held} held out, and needs 2 of each"
                + ("; the split is taken from an earlier run" if known else ""),
                hint="add images to the class, or make a new split: --split new"
                if known
                else "add images to the class",
            )


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


def load_split(run: Path) -> dict[str, SplitEntry]:
    """Load the label, side and group of each image of a run, by digest.

    Raises:
        RunError: `split.jsonl` can't be read.
    """
    file = run / SPLIT_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file} can't be read: {error}", hint="train the model again") from error
    return parse_lines(text, str(file), SplitEntry)


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


def find_trained(entries: Mapping[str, SplitEntry]) -> frozenset[str]:
    """Return the digests of the images that were trained on."""
    return frozenset(digest for digest, entry in entries.items() if entry.split == "train")


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
    newest = newest or next(list_runs_on(beside, config["data"]["path"]), None)
    if newest is None:
        return EarlierSplit()
    if changes := _find_changes(newest, config):
        note = f"the split is new, because {changes} since {redact_uri(newest.uri)} was trained"
        return EarlierSplit(note=f"{note}; earlier accuracies are not comparable with the new one")
    entries = parse_lines(newest.read(SPLIT_FILE).decode(), f"{newest.uri.rstrip('/')}/{SPLIT_FILE}", SplitEntry)
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


def list_runs_on(beside: FileStore, data_path: str) -> Iterator[FileStore]:
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

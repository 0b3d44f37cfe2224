"""Finds the split of an earlier run, for a new run on the same images.

The first of these that exists is used: the run at the output, the unfinished run at the output, the newest run beside
the output that was trained on the same `data.path`. It is not used when a setting that decides the split has changed
since; `train.seed` is none of these, because trainings with several seeds are compared on one split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.data.listing import Split
from trainer.data.remote import redact_uri
from trainer.data.split.stored_split import SPLIT_FILE, parse_split, sides
from trainer.storage import FileStore

LINK = "latest"
"""Name of the symbolic link to the newest run; it is skipped in listings, because the run is listed by its own name."""
DECIDING = ("data.near_copies", "data.group_by", "train.val_fraction")
"""Settings that decide the split."""
SETTINGS = "settings.json"
"""Name of the file with the settings of an unfinished run, beside its checkpoints."""
_MANIFEST, _CONFIG = "run.json", "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSplit:
    """The sides that an earlier run gave its images.

    Attributes:
        origin: Path or URI of the run; empty when there is none.
        known: Digest and side of each image.
        note: Sentence for people when settings that decide the split have changed since; else empty.
    """

    origin: str
    known: Mapping[str, Split]
    note: str = ""


NONE = EarlierSplit(origin="", known={})


def find_earlier(
    *,
    data_path: str,
    deciding: Mapping[str, str | float],
    run: FileStore,
    unfinished: FileStore,
    beside: FileStore,
) -> EarlierSplit:
    """Find the split that a training keeps; return one without images for a new split.

    Args:
        data_path: Value of `data.path` as config.json stores it.
        deciding: Values of the settings in `DECIDING`.
        run: Location of the new run.
        unfinished: Location of the run's checkpoints.
        beside: Location above the new run, which may hold other runs.

    Raises:
        RunError: A split can't be read.
        StorageError: The storage can't be read.
    """
    newest = next((store for store in (run, unfinished) if store.exists(SPLIT_FILE)), None)
    newest = newest or next(_same_data(beside, data_path), None)
    if newest is None:
        return NONE
    if changes := _find_changes(newest, deciding):
        note = f"the split is new, because {changes} since {redact_uri(newest.uri)} was trained"
        return EarlierSplit(origin="", known={}, note=f"{note}; earlier accuracies are not comparable with the new one")
    name = f"{newest.uri.rstrip('/')}/{SPLIT_FILE}"
    return EarlierSplit(origin=newest.uri, known=sides(parse_split(newest.read(SPLIT_FILE).decode(), name)))


def _find_changes(store: FileStore, deciding: Mapping[str, str | float]) -> str:
    """Return in words which settings that decide the split differ from those of a run; empty when none does."""
    before, changes = _json(store, _CONFIG) or _json(store, SETTINGS), []
    for name, value in deciding.items():
        section, _, key = name.partition(".")
        values = before.get(section)
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
        data = _json(store, _CONFIG).get("data")
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

"""The split of an earlier run, for a new one on the same images.

Looked for in this order: the run that is at the output already, the unfinished run there, the run that `train.split`
names, and the newest run beside the output that was trained on the same `data.path`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eaves.errors import RunError
from trainer.data.listing import Split
from trainer.data.split.stored_split import SPLIT_FILE, parse_split, sides
from trainer.storage import FileStore, is_uri, open_store

LINK = "latest"
"""Name of the link to the newest run, which is listed under its own name too."""
NEW = "new"
"""`train.split` for a split that takes nothing over."""
_MANIFEST, _CONFIG = "run.json", "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSplit:
    """The sides that an earlier run gave its images.

    Attributes:
        origin: Path or URI of the run; empty when there is none.
        known: Digest to side.
    """

    origin: str
    known: Mapping[str, Split]


NONE = EarlierSplit(origin="", known={})


def find_earlier(
    wanted: str, *, data_path: str, run: FileStore, unfinished: FileStore, beside: FileStore
) -> EarlierSplit:
    """Find the split that a training goes on from; `NONE` for a new one.

    Args:
        wanted: `train.split`.
        data_path: `data.path`, as config.json tells it.
        run: Where the run will be.
        unfinished: Where its checkpoints are.
        beside: Where it and other runs are.

    Raises:
        RunError: The named run has no split, or a split can't be read.
        StorageError: Storage can't be read.
    """
    if wanted == NEW:
        return NONE
    if wanted:
        for store in (beside.at(wanted), open_store(wanted)) if not is_uri(wanted) else (open_store(wanted),):
            if store.exists(SPLIT_FILE):
                return _read(store)
        raise RunError(
            f"no split in the run {wanted}: it has no {SPLIT_FILE}",
            hint="name a run that was trained with this version, or split anew: --split new",
        )
    for store in (run, unfinished):
        if store.exists(SPLIT_FILE):
            return _read(store)
    newest = next(_same_data(beside, data_path), None)
    return _read(newest) if newest else NONE


def _read(store: FileStore) -> EarlierSplit:
    name = f"{store.uri.rstrip('/')}/{SPLIT_FILE}"
    return EarlierSplit(origin=store.uri, known=sides(parse_split(store.read(SPLIT_FILE).decode(), name)))


def _same_data(beside: FileStore, data_path: str) -> Iterator[FileStore]:
    """Runs with a split that were trained on the same `data.path`, the newest first."""
    stores = [beside.at(name) for name in beside.folders() if name != LINK and not name.startswith(".")]
    dated = [
        (str(about.get("created", "")), store.uri, store) for store in stores if (about := _json(store, _MANIFEST))
    ]
    for _, _, store in sorted(dated, key=lambda item: item[:2], reverse=True):
        data = _json(store, _CONFIG).get("data")
        if isinstance(data, dict) and data.get("path") == data_path and store.exists(SPLIT_FILE):
            yield store


def _json(store: FileStore, name: str) -> dict[str, Any]:
    """A JSON file's object; empty when it isn't there or is something else."""
    if not store.exists(name):
        return {}
    try:
        values = json.loads(store.read(name))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}

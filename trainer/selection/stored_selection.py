"""Stores what was selected for a training, for a resumed run, for the other pods of a Job, and for later trainings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from eaves.errors import StorageError
from trainer.features.sharding import PATIENCE_S, POLL_S, ShardDoneError
from trainer.progress import TrainingProgress
from trainer.selection.selection import ModelSelection, parse_selection
from trainer.storage import FileStore

SELECTION_FILE = "selection.json"
"""Name of the file beside a run's checkpoints."""


def save_selection(store: FileStore, name: str, owner: str, selection: ModelSelection) -> None:
    """Store a selection; `owner` is the fingerprint, or another digest, of the training that it is valid for."""
    predicted = None if selection.predicted is None else dict(selection.predicted)
    values = {"owner": owner, "selection": selection.to_dict(), "predicted": predicted}
    store.write(name, json.dumps(values).encode())


def load_selection(store: FileStore, owner: str, name: str = SELECTION_FILE) -> ModelSelection | None:
    """Load the selection of this owner; return None when none can be read.

    Raises:
        StorageError: The storage can't be read.
    """
    stored = _load(store, name)
    return stored[1] if stored is not None and stored[0] == owner else None


def wait_for_selection(
    store: FileStore,
    fingerprint: str,
    progress: TrainingProgress,
    *,
    is_finished: Callable[[], bool],
    patience_s: float = PATIENCE_S,
    poll_s: float = POLL_S,
) -> ModelSelection:
    """Wait until the pod with index 0 of an Indexed Job has stored its selection, and return it.

    Args:
        store: Storage of the run's checkpoints.
        fingerprint: Fingerprint of the training.
        progress: Receives an empty step at each check, which can stop the training.
        is_finished: Function that returns whether the run of this training exists; index 0 then removes its
            checkpoints.
        patience_s: Seconds after which waiting ends with an error.
        poll_s: Seconds between two checks.

    Raises:
        StorageError: Index 0 trains on other images or with other settings, or it stored nothing for `patience_s`.
        ShardDoneError: The run exists.
    """
    deadline = time.monotonic() + patience_s
    with progress.phase("Waiting for the pod with index 0 to select the network", 1) as step:
        while (stored := _load(store, SELECTION_FILE)) is None:
            if is_finished():
                raise ShardDoneError
            if time.monotonic() > deadline:
                raise StorageError(
                    f"the pod with index 0 of the Job has not stored {SELECTION_FILE} in {store.uri} within "
                    f"{patience_s:g} s",
                    hint="look at the log of that pod, or set train.image_size and train.scale, so that no pod waits",
                )
            step(0)
            time.sleep(poll_s)
        step()
    owner, selection = stored
    if owner != fingerprint:
        raise StorageError(
            f"{SELECTION_FILE} in {store.uri} belongs to another training: the images or settings of the pod with "
            "index 0 differ from those of this pod",
            hint="restart this pod, so that it lists the images again; don't add images while pods start",
        )
    return selection


def _load(store: FileStore, name: str) -> tuple[str, ModelSelection] | None:
    """Load the owner and the selection in a file; None when it is missing, damaged or of another version."""
    if not store.exists(name):
        return None
    try:
        values = json.loads(store.read(name))
        return str(values["owner"]), parse_selection(values["selection"], values["predicted"])
    except (ValueError, KeyError, TypeError):
        return None

"""Stores the pixel scale that was chosen by measurement in `scale.json` beside a run's checkpoints.

The process that resumes the run and the other pods of an Indexed Job read it from there and do not measure again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from eaves.errors import StorageError
from trainer.features.sharding import PATIENCE_S, POLL_S, ShardDoneError
from trainer.pixel_scale.scale_choice import ScaleChoice, parse_choice
from trainer.progress import TrainingProgress
from trainer.storage import FileStore

SCALE_FILE = "scale.json"


def save_choice(store: FileStore, fingerprint: str, choice: ScaleChoice) -> None:
    """Store the pixel scale that was chosen for an unfinished run.

    Args:
        store: Storage of the run's checkpoints.
        fingerprint: Fingerprint of the training; a training with another fingerprint doesn't use the choice.
        choice: The choice to store.

    Raises:
        StorageError: The choice can't be written.
    """
    store.write(SCALE_FILE, json.dumps({"fingerprint": fingerprint, "choice": choice.to_dict()}).encode())


def load_choice(store: FileStore, fingerprint: str) -> ScaleChoice | None:
    """Load the stored pixel scale of the training with this fingerprint; return None when none can be read.

    Raises:
        StorageError: The storage can't be read.
    """
    stored = _load(store)
    return stored.choice if stored is not None and stored.fingerprint == fingerprint else None


def wait_for_choice(
    store: FileStore,
    fingerprint: str,
    progress: TrainingProgress,
    *,
    is_finished: Callable[[], bool],
    patience_s: float = PATIENCE_S,
    poll_s: float = POLL_S,
) -> ScaleChoice:
    """Wait until the pod with index 0 of an Indexed Job has stored the pixel scale, and return it.

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
    with progress.phase("Waiting for the pod with index 0 to choose the scale", 1) as step:
        while (stored := _load(store)) is None:
            if is_finished():
                raise ShardDoneError
            if time.monotonic() > deadline:
                raise StorageError(
                    f"the pod with index 0 of the Job has not stored {SCALE_FILE} in {store.uri} within "
                    f"{patience_s:g} s",
                    hint="look at the log of that pod, or set train.scale, so that no pod has to wait",
                )
            step(0)
            time.sleep(poll_s)
        step()
    if stored.fingerprint != fingerprint:
        raise StorageError(
            f"{SCALE_FILE} in {store.uri} belongs to another training: the images or settings of the pod with "
            "index 0 differ from those of this pod",
            hint="restart this pod, so that it lists the images again; don't add images while pods start",
        )
    return stored.choice


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """Content of `scale.json`."""

    fingerprint: str
    choice: ScaleChoice


def _load(store: FileStore) -> _Stored | None:
    """Load `scale.json` of any training; return None when the file is missing, damaged or of another version."""
    if not store.exists(SCALE_FILE):
        return None
    try:
        values = json.loads(store.read(SCALE_FILE))
        return _Stored(fingerprint=str(values["fingerprint"]), choice=parse_choice(values["choice"]))
    except (ValueError, KeyError, TypeError):
        return None

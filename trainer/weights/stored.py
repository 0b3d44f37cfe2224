"""`scale.json` beside a run's checkpoints: the scale that a probe chose, for whoever goes on with the run.

The process that goes on, and the other pods of an Indexed Job, take it from there and do not probe again.
"""

from __future__ import annotations

import json
import time

from eaves.errors import StorageError
from trainer.progress import Progress
from trainer.share import PATIENCE_S, POLL_S
from trainer.storage import Store
from trainer.weights.choice import Choice, parse_choice

SCALE_FILE = "scale.json"


def save_choice(store: Store, fingerprint: str, choice: Choice) -> None:
    """Write the choice of the run that is being made.

    Args:
        store: Where its checkpoints are.
        fingerprint: Of the training; another one doesn't take the choice.
        choice: What was chosen.

    Raises:
        StorageError: It can't be written.
    """
    store.write(SCALE_FILE, json.dumps({"fingerprint": fingerprint, "choice": choice.to_dict()}).encode())


def load_choice(store: Store, fingerprint: str) -> Choice | None:
    """The choice of this training; None when none is stored that can be read.

    Raises:
        StorageError: The storage can't be read.
    """
    if not store.exists(SCALE_FILE):
        return None
    try:
        values = json.loads(store.read(SCALE_FILE))
        return parse_choice(values["choice"]) if values["fingerprint"] == fingerprint else None
    except (ValueError, KeyError, TypeError):  # damaged, or of another version: probed again
        return None


def wait_for_choice(
    store: Store, fingerprint: str, progress: Progress, *, patience_s: float = PATIENCE_S, poll_s: float = POLL_S
) -> Choice:
    """The choice, once index 0 of an Indexed Job has stored it.

    Args:
        store: Where the run's checkpoints are.
        fingerprint: Of the training.
        progress: Every look is a place to stop.
        patience_s: Seconds after which it gives up.
        poll_s: Seconds between two looks.

    Raises:
        StorageError: Nothing was stored for too long.
    """
    deadline = time.monotonic() + patience_s
    with progress.phase("Waiting for the scale that index 0 chooses", 1) as step:
        while (choice := load_choice(store, fingerprint)) is None:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"index 0 of the Job has stored no {SCALE_FILE} in {store.uri} for {patience_s:g} s",
                    hint="look at that pod, or set train.scale, which leaves nothing to wait for",
                )
            step(0)
            time.sleep(poll_s)
        step()
    return choice

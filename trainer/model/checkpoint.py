"""Checkpoints store the arrays and the position of a training, so that a kill loses at most one interval.

    split.jsonl             the side of every image; written before identity.json
    selection.json          what was selected for the training
    identity.json           settings and digests of the training; another training may not resume from here
    latest.npz              the arrays, and the position of the training as JSON

A write is atomic: if the process is killed while it writes a checkpoint, the one before it stays.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.errors import ConfigError, DatasetError, Fault, StoppedError
from trainer.storage import DAMAGED, FileStore

IDENTITY, LATEST = "identity.json", "latest.npz"
META = "meta"
"""Name of the array with the position of the training, UTF-8 JSON."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingIdentity:
    """Settings, data and code that identify a training.

    Attributes:
        config: The settings that decide the result.
        dataset: Digest of the examples, their labels and sides.
        code: Digest of the packages of Eaves.
    """

    config: Mapping[str, Any]
    dataset: str
    code: str

    @property
    def fingerprint(self) -> str:
        """sha256 of settings and data, not of the code, hex; two runs of one fingerprint are the same training."""
        text = json.dumps([self.config, self.dataset], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Checkpoints:
    """The checkpoints of one run.

    Args:
        store: Storage of the checkpoints.
        identity: Identity of the training.
        interval_s: Seconds between two checkpoints, which a kill loses at most.
        stop: `threading.Event` that is set when the process is asked to stop.
        beside: Name and content of files that a resumed training needs; written with the first checkpoint.

    Raises:
        DatasetError: The stored checkpoints belong to other images, labels or sides.
        ConfigError: The stored checkpoints belong to other settings or code.
    """

    def __init__(
        self,
        store: FileStore,
        identity: TrainingIdentity,
        *,
        interval_s: float,
        stop: threading.Event | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> None:
        self._beside = beside or {}
        self._store, self.identity, self._interval_s = store, identity, interval_s
        self._stop = stop or threading.Event()
        self._saved = time.monotonic()
        self._known = self._check_identity()

    def due(self) -> bool:
        """Return whether the last checkpoint is older than the interval."""
        return time.monotonic() - self._saved >= self._interval_s

    def check_stop(self) -> None:
        """Stop the training if asked to; called between two steps.

        Raises:
            StoppedError: The process is asked to stop.
        """
        if self._stop.is_set():
            raise StoppedError(
                "the training was stopped after it had written a checkpoint", hint="run the same command again"
            )

    def load(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]] | None:
        """Load arrays and position of the last checkpoint, as they were saved; return None when there is none."""
        if not self._store.exists(LATEST):
            return None
        try:
            arrays = self._store.read_arrays(LATEST)
            return arrays, json.loads(arrays.pop(META).tobytes())
        except DAMAGED:
            _logger.warning("the checkpoint in %s is damaged; the training starts from the beginning", self._store.uri)
            return None

    def begin(self) -> None:
        """Write what the training is, unless it is known already: from now on no other may resume from here."""
        if not self._known:
            for name, data in self._beside.items():
                self._store.write(name, data)
            self._store.write(IDENTITY, _dump(asdict(self.identity)))
            self._known = True

    def save(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Write a checkpoint in place of the one before.

        Args:
            arrays: Name of each array to the array.
            meta: Position of the training, as plain data for JSON.
        """
        self.begin()
        self._store.write_arrays(LATEST, **arrays, **{META: np.frombuffer(_dump(meta), np.uint8)})
        self._saved = time.monotonic()

    def _check_identity(self) -> bool:
        """Return whether the storage holds checkpoints of this training; raise an error for those of another one."""
        if not self._store.exists(IDENTITY):
            return False
        there, ours = json.loads(self._store.read(IDENTITY)), json.loads(_dump(asdict(self.identity)))
        if there == ours:
            return True
        hint = f"remove {self._store.uri} to start from the beginning, or name another directory for the run"
        what = f"the unfinished run in {self._store.uri}"
        if there["dataset"] != ours["dataset"]:
            raise DatasetError(f"the images, their labels or the split differ from those of {what}", hint=hint)
        keys = sorted({*there["config"], *ours["config"]})
        faults = [
            Fault(origin="training", path=f"train.{key}", message=f"{what} was started with {before!r} (got {now!r})")
            for key in keys
            if (before := there["config"].get(key)) != (now := ours["config"].get(key))
        ]
        raise ConfigError(
            faults or [Fault(origin="training", path="", message=f"{what} was started by another version of Eaves")],
            hint=hint,
        )


def _dump(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()

"""Checkpoints: arrays and where a training is, so that a kill at any moment loses at most one interval.

    split.jsonl             the side of every image; written before identity.json
    scale.json              what pixels become, where a probe of the weights has chosen it
    identity.json           what is being trained: settings, labels, digests; others may not go on from here
    STAGE/0.npz, 1.npz      two generations of arrays, written in turn
    STAGE/latest.json       which of them counts, its digest, and where the training was; written last

A kill while a generation is written leaves `latest.json` pointing to the other one.
"""

from __future__ import annotations

import hashlib
import io
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
from trainer.storage import FileStore

IDENTITY, LATEST = "identity.json", "latest.json"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingIdentity:
    """What is trained, from what, by which code.

    Attributes:
        config: The settings that decide the result.
        labels: Class names, in order.
        dataset: Digest of the examples, their labels and sides.
        code: Digest of our packages.
    """

    config: Mapping[str, Any]
    labels: tuple[str, ...]
    dataset: str
    code: str

    @property
    def fingerprint(self) -> str:
        """sha256 of settings and data, hex: two runs of one fingerprint are the same training. Not of the code."""
        text = json.dumps([self.config, self.labels, self.dataset], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One stage of a training as it was.

    Attributes:
        arrays: Name to array.
        meta: Where it was, plain data.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    meta: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        store: Where they are.
        identity: What is being trained.
        interval_s: Seconds between two of them, and so what a kill loses at most.
        stop: Set when the process was asked to stop.
        beside: Name to content of files that whoever goes on needs; written with the first checkpoint.

    Raises:
        DatasetError: Those that are there are of other images or labels.
        ConfigError: ... of other settings or code.
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
        self._store, self._identity, self._interval_s = store, identity, interval_s
        self._stop = stop or threading.Event()
        self._saved = time.monotonic()
        self._known = self._check_identity()

    def due(self) -> bool:
        """Whether the last one is older than the interval."""
        return time.monotonic() - self._saved >= self._interval_s

    def check_stop(self) -> None:
        """Between two steps.

        Raises:
            StoppedError: The process was asked to stop.
        """
        if self._stop.is_set():
            raise StoppedError("stopped while training; a checkpoint is written", hint="run the same command again")

    def load(self, stage: str) -> Checkpoint | None:
        """The last checkpoint of a stage; None when there is none."""
        for entry in self._entries(stage):
            name = f"{stage}/{entry['generation']}.npz"
            data = self._store.read(name) if self._store.exists(name) else b""
            if hashlib.sha256(data).hexdigest() == entry["sha256"]:
                with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                    return Checkpoint(arrays=dict(arrays), meta=entry["meta"])
            _logger.warning("checkpoint %s in %s is damaged: the one before it is used", name, self._store.uri)
        return None

    def save(self, stage: str, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Leave a checkpoint; the one before it stays.

        Args:
            stage: Part of the training it belongs to.
            arrays: Name to array.
            meta: Plain data for JSON.
        """
        if not self._known:
            for name, data in self._beside.items():
                self._store.write(name, data)
            self._store.write(IDENTITY, _dump(asdict(self._identity)))
            self._known = True
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        earlier = self._entries(stage)[:1]
        generation = 1 - earlier[0]["generation"] if earlier else 0
        data = buffer.getvalue()
        self._store.write(f"{stage}/{generation}.npz", data)
        entry = {"generation": generation, "sha256": hashlib.sha256(data).hexdigest(), "meta": meta}
        self._store.write(f"{stage}/{LATEST}", _dump([entry, *earlier]))
        self._saved = time.monotonic()

    def _entries(self, stage: str) -> list[dict[str, Any]]:
        """Newest first."""
        name = f"{stage}/{LATEST}"
        entries: list[dict[str, Any]] = json.loads(self._store.read(name)) if self._store.exists(name) else []
        return entries

    def _check_identity(self) -> bool:
        """Whether there are checkpoints, and of this training."""
        if not self._store.exists(IDENTITY):
            return False
        there, ours = json.loads(self._store.read(IDENTITY)), json.loads(_dump(asdict(self._identity)))
        if there == ours:
            return True
        hint = f"remove {self._store.uri} to start afresh, or name another directory for the run"
        what = f"the unfinished run in {self._store.uri}"
        if there["labels"] != ours["labels"]:
            message = f"labels differ from those of {what}: {_difference(there['labels'], ours['labels'])}"
            raise DatasetError(message, hint=hint)
        if there["dataset"] != ours["dataset"]:
            raise DatasetError(f"images, their labels or the split differ from those of {what}", hint=hint)
        keys = sorted({*there["config"], *ours["config"]})
        faults = [
            Fault(origin="training", path=key, message=f"{what} was started with {before!r} (got {now!r})")
            for key in keys
            if (before := there["config"].get(key)) != (now := ours["config"].get(key))
        ]
        raise ConfigError(
            faults or [Fault(origin="training", path="", message=f"{what} was started by other code")], hint=hint
        )


def _difference(before: list[str], now: list[str]) -> str:
    gone, new = sorted(set(before) - set(now)), sorted(set(now) - set(before))
    parts = [f"{', '.join(names)} {what}" for names, what in ((gone, "gone"), (new, "new")) if names]
    return " and ".join(parts) or "another order"


def _dump(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()

"""Reads the files of a run that a page needs."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eaves.console.catalog.directories import foreign_content, read_below, read_json
from eaves.console.catalog.figures import Share
from eaves.errors import RunError
from trainer.run.held_out import HELD_OUT_FILE, HeldOutAnswer, parse_held_out
from trainer.run.run import CONFIG, MANIFEST, Run, load_run

MAX_CLASSES = 2_000
"""Maximum number of classes of a run that is shown."""
MAX_EPOCHS = 2_000
MAX_ANSWERS_BYTES = 24_000_000
"""Maximum size of the answers to the held-out images, bytes: about 100,000 images. Parsed they take three times as
much."""
DIGEST = re.compile(r"[0-9a-f]{64}")
CURVES = ("loss", "val_loss", "accuracy", "val_accuracy")
"""Figures of an epoch that are shown."""


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """A run as its files describe it; the files are not checked against their digests.

    Attributes:
        run: Content of run.json.
        digest: sha256 of run.json, hex; an artifact that was converted from the run names it.
        confusion: Number of held-out images by true class (rows) and predicted class (columns).
        interval: 95 % confidence interval of the accuracy; None if the run has none.
        history: Figures of each epoch by name, those of `CURVES` that it has.
        seconds: Duration of each phase of the training, seconds.
        settings: Value of each setting by `section.name`.
    """

    run: Run
    digest: str
    confusion: tuple[tuple[int, ...], ...]
    interval: tuple[float, float] | None
    history: tuple[Mapping[str, float], ...]
    seconds: Mapping[str, float]
    settings: Mapping[str, Any]

    @property
    def accuracy(self) -> Share:
        """Accuracy on the held-out images."""
        right = sum(row[number] for number, row in enumerate(self.confusion))
        return Share(right=right, images=sum(map(sum, self.confusion)), ends=self.interval)

    @cached_property
    def answers(self) -> Mapping[str, HeldOutAnswer] | None:
        """The model's answer to each held-out image by its digest; None in runs of older versions.

        Raises:
            RunError: The file can't be read.
        """
        content = read_below(self.run.path, HELD_OUT_FILE, max_bytes=MAX_ANSWERS_BYTES)
        if content is None:
            return None
        parsed = parse_held_out(content.decode("utf-8", "replace"), HELD_OUT_FILE)
        return {digest: answer for digest, answer in parsed.items() if DIGEST.fullmatch(digest)}


def load_files(path: Path, origin: str) -> RunFiles:
    """Load what the page of a run shows.

    Args:
        path: Directory of the run.
        origin: The run as messages name it, such as `the run "flowers"`.

    Raises:
        RunError: The directory holds no run that this version of Eaves reads.
        ArtifactError: A file holds something that Eaves does not write.
    """
    with foreign_content(origin):
        content = read_below(path, MANIFEST)
        if content is None:
            raise RunError(f"{path} holds no {MANIFEST} that can be read", hint="copy the whole run again")
        run = load_run(path)
        if not 1 <= len(run.labels) <= MAX_CLASSES or not all(map(_is_name, run.labels)):
            message = f"{origin} can't be shown: it must have 1 to {MAX_CLASSES:,} classes with printable names"
            raise RunError(message, hint="train the model again")
        measured, config = read_json(path, "metrics.json"), read_json(path, CONFIG)
        return RunFiles(
            run=run,
            digest=hashlib.sha256(content).hexdigest(),
            confusion=_parse_confusion(measured["confusion"], len(run.labels)),
            interval=_parse_interval(measured.get("val_accuracy_interval_95")),
            history=tuple(_parse_epoch(epoch) for epoch in read_json(path, "history.json")[:MAX_EPOCHS]),
            seconds={str(name): float(value) for name, value in measured.get("seconds", {}).items()},
            settings={
                f"{section}.{name}": value for section, values in config.items() for name, value in values.items()
            },
        )


def _is_name(label: object) -> bool:
    return isinstance(label, str) and label.isprintable()


def _parse_confusion(rows: Any, classes: int) -> tuple[tuple[int, ...], ...]:
    parsed = tuple(tuple(int(count) for count in row) for row in rows)
    if len(parsed) != classes or any(len(row) != classes or min(row) < 0 for row in parsed):
        raise ValueError("the confusion matrix does not fit the classes")
    return parsed


def _parse_interval(ends: Any) -> tuple[float, float] | None:
    if ends is None:
        return None
    low, high = (float(end) for end in ends)
    if not 0 <= low <= high <= 1:
        raise ValueError("the interval of the accuracy is none")
    return low, high


def _parse_epoch(epoch: Mapping[str, Any]) -> Mapping[str, float]:
    values = {name: float(epoch[name]) for name in CURVES if name in epoch}
    return {name: value for name, value in values.items() if math.isfinite(value) and abs(value) < 1e12}

"""The files of a run: its figures, and its held-out photos, found by the digest of their bytes.

A directory may come from another person, so what is read from it has a limited size and is never outside it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from eaves.base.strict_json import parse_json
from eaves.console.catalog.confusion import Share
from eaves.errors import ArtifactError, EavesError, RunError
from trainer.evaluation.held_out import HELD_OUT_FILE, HeldOutAnswer, parse_held_out
from trainer.run.run import CONFIG, MANIFEST, Run, load_run

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Maximum size of a text file that is read, bytes."""
MAX_IMAGE_BYTES = 20 * 1024 * 1024
"""Maximum size of an image that is read, bytes; a function accepts as many by default."""
MAX_CLASSES = 2_000
"""Maximum number of classes of a run that is shown."""
MAX_EPOCHS = 2_000
MAX_ANSWERS_BYTES = 24_000_000
"""Maximum size of the answers to the held-out images, bytes: about 100,000 images, which take three times as much in
memory."""
DIGEST = re.compile(r"[0-9a-f]{64}")
CURVES = ("loss", "val_loss", "accuracy", "val_accuracy")
"""Figures of an epoch that are shown."""
_UNEXPECTED = (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Exceptions that code raises which reads a value of another type or size than Eaves writes."""


@contextmanager
def foreign_content(origin: str) -> Iterator[None]:
    """Turn the exceptions that unexpected content causes into an ArtifactError; `origin` names what is read."""
    try:
        yield
    except EavesError:
        raise
    except _UNEXPECTED as error:
        detail = f"{type(error).__name__}: {str(error)[:120]}"
        raise ArtifactError(
            f"{origin} can't be shown: it holds something that Eaves does not write ({detail})",
            hint="copy it again, or make it again",
        ) from error


def find_below(root: Path, relative: str) -> Path | None:
    """Return the resolved path of a regular file below a directory; None when there is none or it leads outside."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\0" in relative:
        return None
    try:
        base = root.resolve(strict=True)
        path = (base / relative).resolve(strict=True)
        return path if path.is_relative_to(base) and stat.S_ISREG(path.lstat().st_mode) else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of symbolic links
        return None


def read_below(root: Path, relative: str, *, max_bytes: int = MAX_TEXT_BYTES) -> bytes | None:
    """Return the content of a file below a directory; None when `find_below` finds none or the file is larger."""
    path = find_below(root, relative)
    if path is None:
        return None
    try:
        # NONBLOCK: a pipe that replaced the file since it was found must not stop the page.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError:
        return None
    return content if len(content) <= max_bytes else None


def read_json(root: Path, relative: str) -> Any:
    """Return the value of a JSON file below a directory; an ArtifactError when it is missing or no JSON."""
    content = read_below(root, relative)
    if content is None:
        raise ArtifactError(f"{relative} is missing in {root}, or can't be read", hint="copy the whole directory again")
    try:
        return parse_json(content)
    except ValueError as error:
        raise ArtifactError(f"{relative} in {root} is not JSON: {error}", hint="copy it again") from error


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
        """The model's answer to each held-out image by its digest; None without such a file."""
        content = read_below(self.run.path, HELD_OUT_FILE, max_bytes=MAX_ANSWERS_BYTES)
        if content is None:
            return None
        parsed = parse_held_out(content.decode("utf-8", "replace"), HELD_OUT_FILE)
        return {digest: answer for digest, answer in parsed.items() if DIGEST.fullmatch(digest)}

    @cached_property
    def _samples(self) -> Mapping[str, str]:
        listed = read_json(self.run.path, "samples.json")
        return {str(item["sha256"]): str(name) for name, item in listed.items()}

    def find_photos(self, digest: str) -> list[tuple[Path, str]]:
        """Return directory and relative path of the files that may be a held-out photo: in the run, in the data set."""
        with foreign_content(f"the run {self.run.path.name}"):
            answer, root = (self.answers or {}).get(digest), self.run.dataset.get("root")
            if answer is None:
                return []
            places = [(self.run.path, self._samples[digest])] if digest in self._samples else []
            if isinstance(root, str) and root.startswith("/"):
                places.append((Path(root), answer.file))
            return [place for place in places if find_below(*place) is not None]

    def read_photo(self, digest: str) -> bytes | None:
        """Return the bytes of a photo; None when it isn't on this machine, or isn't what the model saw any more."""
        for root, relative in self.find_photos(digest):
            content = read_below(root, relative, max_bytes=MAX_IMAGE_BYTES)
            if content is not None and hashlib.sha256(content).hexdigest() == digest:
                return content
        return None


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
        names = all(isinstance(label, str) and label.isprintable() for label in run.labels)
        if not names or not 1 <= len(run.labels) <= MAX_CLASSES:
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

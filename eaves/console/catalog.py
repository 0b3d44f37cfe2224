"""Runs and artifacts as pages list them, and the files of a run: directories that other people may have made.

Nothing here runs a model, or imports TensorFlow or onnxruntime. NumPy is imported, so pages import this module when
there is something to show. Content that isn't what Eaves writes raises an EavesError with a message for people, and
what is read has a limited size.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eaves.artifact import FP32, Artifact, open_artifact
from eaves.base.files import Stamp, find_stamp
from eaves.base.strict_json import parse_json
from eaves.console.backend import Backend, ModelLocation
from eaves.console.model.words import clean_text, describe_size
from eaves.console.run_page import describe_accuracy, describe_level, parse_time
from eaves.errors import ArtifactError, EavesError, RunError
from trainer.evaluation.held_out import HELD_OUT_FILE, HeldOutAnswer, parse_held_out
from trainer.run.run import MANIFEST, Run, load_run

KEPT_RUNS, KEPT_ARTIFACTS = 2, 8
"""Maximum number of runs and of artifacts that are kept in memory. A page of photos asks for the same run again for
each photo, and a run of 100,000 held-out images takes about 60 MB."""
SHOWN = 100
"""Maximum number of artifacts and of runs in the list."""
MAX_TEXT_BYTES, MAX_IMAGE_BYTES, MAX_ANSWERS_BYTES = 16 << 20, 20 << 20, 24_000_000
"""Maximum size of a text file, of a photo (a function accepts as many by default) and of the answers to the held-out
images (100,000, which take three times as much in memory), bytes."""
MAX_CLASSES = 2_000
DIGEST = re.compile(r"[0-9a-f]{64}")
_UNEXPECTED = (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Exceptions that code raises which reads a value of another type or size than Eaves writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """An artifact or a run in the list.

    Attributes:
        location: Its name, kind and directory.
        title: Name and version of the model.
        note: Precision of an artifact, or accuracy of a run, with the evidence.
        badge: State in a few words.
        size: Size of an artifact as text.
        created: Time when a run was written, Unix seconds; None when it isn't known.
        run: Name of the run that an artifact was converted from; empty when it isn't here.
        is_warning: Whether people should read `note` before they deploy the artifact.
        fault: Reason why it can't be shown, empty when it can.
    """

    location: ModelLocation
    title: str = ""
    note: str = ""
    badge: str = ""
    size: str = ""
    created: float | None = None
    run: str = ""
    is_warning: bool = False
    fault: str = ""


def list_locations(backend: Backend, kind: str) -> list[ModelLocation]:
    """Return the places of each `run` or `artifact` whose name can be part of an address."""
    found = (one for one in backend.models() if one.kind == kind and one.name not in ("", ".", ".."))
    return [one for one in found if one.name.isprintable() and "/" not in one.name]


def list_artifacts(backend: Backend) -> list[ModelRow]:
    """Return the rows of artifacts: those that are served first, then the newest."""
    runs = {
        hashlib.sha256(read_file(run.path / MANIFEST) or b"").hexdigest(): run.name
        for run in list_locations(backend, "run")
    }
    rows = [_build_artifact(location, runs) for location in list_locations(backend, "artifact")[:SHOWN]]
    return sorted(rows, key=lambda row: (not row.location.functions, not row.location.previous_of))


def list_runs(backend: Backend) -> list[ModelRow]:
    """Return the rows of runs, the newest first."""
    rows = [_build_run(location) for location in list_locations(backend, "run")[:SHOWN]]
    return sorted(rows, key=lambda row: row.created or 0.0, reverse=True)


def _build_artifact(location: ModelLocation, runs: Mapping[str, str]) -> ModelRow:
    try:
        with foreign_content(f"the artifact {location.name}"):
            artifact = _open_artifact(location.path, find_stamp(location.path / "manifest.json"))
            found = artifact.manifest.quantisation
            run = runs.get(artifact.manifest.source.digest, "")
    except EavesError as error:
        return ModelRow(location=location, fault=error.message[:300])
    badge = f"serves {', '.join(location.functions)}" if location.functions else ""
    return ModelRow(
        location=location,
        title=f"{artifact.manifest.name} {artifact.manifest.version}",
        note=clean_text(f"{artifact.manifest.precision}: {found.reason}", 300),
        badge=badge or ("previous deployment" if location.previous_of else ""),
        size=describe_size(artifact.size_bytes),
        run=run,
        is_warning=found.asked != FP32 and not (found.shipped and found.evidence.passed),
    )


def _build_run(location: ModelLocation) -> ModelRow:
    try:
        with foreign_content(f"the run {location.name}"):
            files = open_run(location)
            kind = str(files.run.verdict.get("kind", ""))
    except EavesError as error:
        return ModelRow(location=location, fault=error.message[:300])
    return ModelRow(
        location=location,
        title=clean_text(f"{files.run.name} {files.run.version}", 200),
        note="{} ({})".format(*files.accuracy),
        badge=describe_level(kind),
        created=parse_time(files.run.created),
    )


@functools.lru_cache(maxsize=KEPT_ARTIFACTS)
def _open_artifact(path: Path, _: Stamp | None) -> Artifact:
    return open_artifact(path)


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


def read_file(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> bytes | None:
    """Return the content of a regular file; None when there is none, or it is larger."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError:
        return None
    return content if len(content) <= max_bytes else None


def read_json(path: Path) -> Any:
    """Return the value of a JSON file; an ArtifactError when it is missing or no JSON."""
    content = read_file(path)
    if content is None:
        raise ArtifactError(f"{path} is missing, or can't be read", hint="copy the whole directory again")
    try:
        return parse_json(content)
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}", hint="copy it again") from error


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """A run as its files describe it; the files are not checked against their digests.

    Attributes:
        run: Content of run.json.
        confusion: Number of held-out images by true class (rows) and predicted class (columns).
        interval: 95 % confidence interval of the accuracy; None if the run has none.
    """

    run: Run
    confusion: tuple[tuple[int, ...], ...]
    interval: tuple[float, float] | None

    @property
    def accuracy(self) -> tuple[str, str]:
        """Accuracy on the held-out images and its evidence, as text."""
        right = sum(row[number] for number, row in enumerate(self.confusion))
        return describe_accuracy(right, sum(map(sum, self.confusion)), self.interval)

    @cached_property
    def answers(self) -> Mapping[str, HeldOutAnswer] | None:
        """The model's answer to each held-out image by its digest; None without such a file."""
        content = read_file(self.run.path / HELD_OUT_FILE, max_bytes=MAX_ANSWERS_BYTES)
        if content is None:
            return None
        parsed = parse_held_out(content.decode("utf-8", "replace"), HELD_OUT_FILE)
        return {digest: answer for digest, answer in parsed.items() if DIGEST.fullmatch(digest)}

    @cached_property
    def _samples(self) -> Mapping[str, str]:
        listed = read_json(self.run.path / "samples.json")
        return {str(item["sha256"]): str(name) for name, item in listed.items()}

    def find_photos(self, digest: str) -> list[Path]:
        """Return the files that may be a held-out photo: in the run, in the data set."""
        with foreign_content(f"the run {self.run.path.name}"):
            answer, root = (self.answers or {}).get(digest), self.run.dataset.get("root")
            if answer is None:
                return []
            places = [self.run.path / self._samples[digest]] if digest in self._samples else []
            if isinstance(root, str) and root.startswith("/"):
                places.append(Path(root) / answer.file)
            return [place for place in places if place.is_file()]

    def read_photo(self, digest: str) -> bytes | None:
        """Return the bytes of a photo; None when it isn't on this machine, or isn't what the model saw any more.

        The digest decides, wherever the run says that the photo is.
        """
        for path in self.find_photos(digest):
            content = read_file(path, max_bytes=MAX_IMAGE_BYTES)
            if content is not None and hashlib.sha256(content).hexdigest() == digest:
                return content
        return None


def open_run(location: ModelLocation) -> RunFiles:
    """Load what the page of a run shows.

    Raises:
        RunError: The directory holds no run that this version of Eaves reads.
        ArtifactError: A file holds something that Eaves does not write.
    """
    return _load_run(location.path, f"the run {location.name}", find_stamp(location.path / MANIFEST))


@functools.lru_cache(maxsize=KEPT_RUNS)
def _load_run(path: Path, origin: str, _: Stamp | None) -> RunFiles:
    with foreign_content(origin):
        if read_file(path / MANIFEST) is None:
            raise RunError(f"{path} holds no {MANIFEST} that can be read", hint="copy the whole run again")
        run = load_run(path)
        names = all(isinstance(label, str) and label.isprintable() for label in run.labels)
        if not names or not 1 <= len(run.labels) <= MAX_CLASSES:
            message = f"{origin} can't be shown: it must have 1 to {MAX_CLASSES:,} classes with printable names"
            raise RunError(message, hint="train the model again")
        measured = read_json(path / "metrics.json")
        return RunFiles(
            run=run,
            confusion=_parse_confusion(measured["confusion"], len(run.labels)),
            interval=_parse_interval(measured.get("val_accuracy_interval_95")),
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

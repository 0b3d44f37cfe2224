"""Runs as pages list and show them: directories that other people may have made.

A run's page has what its report can't have: what the model takes for what, beside the mistaken photos. Nothing here
runs a model, or imports TensorFlow or onnxruntime. NumPy is imported, so pages import this module when there is
something to show. Content that isn't what Eaves writes raises an EavesError with a message for people, and what is read
has a limited size.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eaves.artifact.store import gate_file
from eaves.base.files import Stamp, find_stamp
from eaves.base.statistics import round_outward
from eaves.base.strict_json import parse_json
from eaves.console.words import clean_text, count_noun, parse_time
from eaves.errors import ArtifactError, EavesError, RunError
from trainer.data.splitting import HELD_OUT_FILE, HeldOutAnswer, parse_lines
from trainer.run.run import MANIFEST, Run, load_run

KEPT_RUNS = 2
"""Maximum number of runs that are kept in memory. A page of photos asks for the same run again for each photo, and a
run of 100,000 held-out images takes about 60 MB."""
SHOWN = 100
"""Maximum number of runs in the list."""
MAX_TEXT_BYTES, MAX_IMAGE_BYTES, MAX_ANSWERS_BYTES = 16 << 20, 20 << 20, 24_000_000
"""Maximum size of a text file, of a photo (a function accepts as many by default) and of the answers to the held-out
images (100,000, which take three times as much in memory), bytes."""
MAX_CLASSES = 2_000
REPORT = "report.html"
"""File in which a training has reported on its run, for people."""
MATRIX_CLASSES = 20
"""Maximum number of classes for which the page has a matrix; with more it lists the pairs confused most often."""
PAIRS = 50
HEATS = 5
"""Number of shades of a cell, besides none."""
PHOTOS = 12
"""Maximum number of mistaken photos on one page."""
DIGEST = re.compile(r"[0-9a-f]{64}")
LEVELS = {
    "usable": "usable",
    "uncertain": "not shown to be usable",
    "weak": "weak",
    "guessing": "no better than guessing",
    "unknown": "too few images to tell",
}
"""Kind of a run's verdict to its words for a badge."""
_UNEXPECTED = (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Exceptions that code raises which reads a value of another type or size than Eaves writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run in the list.

    Attributes:
        name: Name of its directory.
        title: Name and version of the model.
        note: Accuracy, with the evidence.
        badge: Verdict in a few words.
        created: Time when it was written, Unix seconds; None when it isn't known.
        fault: Reason why it can't be shown, empty when it can.
    """

    name: str
    title: str = ""
    note: str = ""
    badge: str = ""
    created: float | None = None
    fault: str = ""


def list_runs(known: Mapping[str, Path]) -> list[RunRow]:
    """Return a row of each run, in the same order; without those whose names can't be part of a page's address."""
    named = [(name, path) for name, path in known.items() if name.isprintable()]
    return [_describe(name, path) for name, path in named[:SHOWN]]


def _describe(name: str, path: Path) -> RunRow:
    try:
        with foreign_content(f"the run {name}"):
            files = open_run(path)
            return RunRow(
                name=name,
                title=clean_text(f"{files.run.name} {files.run.version}", 200),
                note="{} ({})".format(*files.accuracy),
                badge=LEVELS.get(str(files.run.verdict.get("kind", "")), "not rated"),
                created=parse_time(files.run.created),
            )
    except EavesError as error:
        return RunRow(name=name, fault=error.message[:300])


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


def _read_json(path: Path) -> Any:
    content = read_file(path)
    if content is None:
        raise ArtifactError(f"{path} is missing, or can't be read", hint="copy the whole directory again")
    return parse_json(content)


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """A run as its files describe it; the files are not checked against their digests.

    Attributes:
        run: Content of run.json.
        confusion: Number of held-out images by true class (rows) and predicted class (columns).
        judged: Number of right answers and of images that the model is judged by, as its verdict is.
        evidence: What these images are: held-out, or cross-validated where too few are held out.
        interval: 95 % confidence interval of the accuracy on them.
    """

    run: Run
    confusion: Sequence[Sequence[int]]
    judged: tuple[int, int]
    evidence: str
    interval: tuple[float, float]

    @property
    def accuracy(self) -> tuple[str, str]:
        """Accuracy on the images that the model is judged by, and its evidence, as text."""
        right, images = self.judged
        if not images:
            return "not known", "no image"
        low, high = round_outward(self.interval, 3)
        ends = f"95% interval {_format_percent(low)} to {_format_percent(high)}"
        return _format_percent(right / images), f"{right:,} of {count_noun(images, f'{self.evidence} image')}, {ends}"

    @cached_property
    def answers(self) -> Mapping[str, HeldOutAnswer] | None:
        """The model's answer to each held-out image by its digest; None without such a file."""
        content = read_file(self.run.path / HELD_OUT_FILE, max_bytes=MAX_ANSWERS_BYTES)
        if content is None:
            return None
        parsed = parse_lines(content.decode("utf-8", "replace"), HELD_OUT_FILE, HeldOutAnswer)
        return {digest: answer for digest, answer in parsed.items() if DIGEST.fullmatch(digest)}

    @cached_property
    def _samples(self) -> Mapping[str, str]:
        listed = _read_json(self.run.path / "samples.json")
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


def open_run(path: Path) -> RunFiles:
    """Load what the page of a run shows.

    Raises:
        RunError: The directory holds no run that this version of Eaves reads.
        ArtifactError: A file holds something that Eaves does not write.
    """
    return _load_run(path, find_stamp(path / MANIFEST))


@functools.lru_cache(maxsize=KEPT_RUNS)
def _load_run(path: Path, _: Stamp | None) -> RunFiles:
    with foreign_content(f"the run {path.name}"):
        if read_file(path / MANIFEST) is None:
            raise RunError(f"{path} holds no {MANIFEST} that can be read", hint="copy the whole run again")
        run = load_run(path)
        count, names = len(run.labels), all(isinstance(one, str) and one.isprintable() for one in run.labels)
        if not names or not 1 <= count <= MAX_CLASSES:
            message = f"{path} can't be shown: it must have 1 to {MAX_CLASSES:,} classes with printable names"
            raise RunError(message, hint="train the model again")
        measured = _read_json(path / "metrics.json")
        confusion = [[int(images) for images in row] for row in measured["confusion"]]
        if len(confusion) != count or any(len(row) != count or min(row) < 0 for row in confusion):
            raise ValueError("the confusion matrix does not fit the classes")
        crossed = measured.get("cross_validation")
        judged = crossed or measured
        low, high = map(float, judged["val_accuracy_interval_95"])
        counted = [[int(images) for images in row] for row in judged["confusion"]]
        right, images = sum(row[number] for number, row in enumerate(counted)), sum(map(sum, counted))
        if not (0 <= low <= high <= 1 and 0 <= right <= images):
            raise ValueError("the accuracy or its interval is none")
        return RunFiles(
            run=run,
            confusion=confusion,
            judged=(right, images),
            evidence="cross-validated" if crossed else "held-out",
            interval=(low, high),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """Answer of the gate to the question whether a run's artifact is good enough to be deployed.

    Attributes:
        path: Directory of the artifact.
        passed: Whether it is good enough.
        lacks: Whether it is refused only because too few images compare it with the model that serves.
        lines: Why, as sentences.
        function: Name of the function that would serve it.
        artifact: Digest of the artifact.
        replaces: Digest of the artifact that it was compared with, if one was deployed.
    """

    path: Path
    passed: bool
    lacks: bool
    lines: Sequence[str]
    function: str
    artifact: str
    replaces: Sequence[str]


def read_gate(run: Path) -> GateAnswer | None:
    """Return the gate's answer for the artifact of a run; None when there is none, or the artifact was changed since.

    Raises:
        ArtifactError: The file holds something that Eaves does not write.
    """
    path = run.parent.parent / "artifacts" / run.name
    manifest, content = read_file(path / "manifest.json"), read_file(gate_file(path))
    if manifest is None or content is None:
        return None
    with foreign_content(f"the gate's answer for {run.name}"):
        known = parse_json(content)
        answer = GateAnswer(
            path=path,
            passed=known["passed"] is True,
            lacks=known.get("lacks") is True,
            lines=[clean_text(line) for line in known["lines"]],
            function=str(known["function"]),
            artifact=hashlib.sha256(manifest).hexdigest(),
            replaces=list(known["replaces"]),
        )
        return answer if answer.artifact == known["artifact"] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the matrix.

    Attributes:
        truth: Position of the true class.
        predicted: Position of the predicted class.
        count: Number of images.
        heat: Shade by the share of the true class's images, 0 (none) to `HEATS`.
        text: The cell as a sentence.
    """

    truth: int
    predicted: int
    count: int
    heat: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """A page of photos that the model mistakes.

    Attributes:
        title: What the photos are, as a sentence.
        photos: The model's answers to the photos of this page, the most confident mistake first.
        total: Number of photos on all pages.
        page: Number of this page, from 1.
        pages: Number of pages.
    """

    title: str
    photos: Sequence[HeldOutAnswer]
    total: int
    page: int
    pages: int


def build_run_page(files: RunFiles) -> dict[str, Any]:
    """Return what the template of a run's page shows; unexpected content raises what `foreign_content` translates."""
    run, labels = files.run, files.run.labels
    known = range(len(labels)) if len(labels) <= MATRIX_CLASSES else ()
    return {
        "title": clean_text(f"{run.name} {run.version}"),
        "created": parse_time(run.created),
        "verdict": clean_text(run.verdict.get("text", "")),
        "notes": [clean_text(note, 600) for note in run.dataset.get("notes", ())],
        "accuracy": files.accuracy,
        "labels": labels,
        "matrix": [[_build_cell(labels, files.confusion, truth, one) for one in known] for truth in known],
        "pairs": build_pairs(labels, files.confusion),
        "has_report": (run.path / REPORT).is_file(),
    }


def build_pairs(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[Cell]:
    """Return the pairs of classes that are confused most often, at most `PAIRS`."""
    wrong = [
        (-count, truth, predicted)
        for truth, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and truth != predicted
    ]
    return [_build_cell(labels, confusion, truth, predicted) for _, truth, predicted in sorted(wrong)[:PAIRS]]


def _build_cell(labels: Sequence[str], confusion: Sequence[Sequence[int]], truth: int, predicted: int) -> Cell:
    count, images = confusion[truth][predicted], sum(confusion[truth])
    verb = "found" if truth == predicted else f"taken for {labels[predicted]}"
    return Cell(
        truth=truth,
        predicted=predicted,
        count=count,
        heat=math.ceil(count / images * HEATS) if images else 0,
        text=f"{count:,} of {count_noun(images, 'image')} of {labels[truth]} {verb}",
    )


def select_mistakes(
    answers: Mapping[str, HeldOutAnswer],
    labels: Sequence[str],
    *,
    truth: int | None = None,
    predicted: int | None = None,
    page: int = 1,
) -> Mistakes:
    """Return the photos of one cell, or all photos that the model mistakes.

    Args:
        answers: The model's answer to each held-out image.
        labels: Class names.
        truth: Position of the true class; None, or a position that no class has, selects all mistakes.
        predicted: Position of the predicted class.
        page: Number of the page; a number beyond the last page gives the last page.
    """
    known = dict(enumerate(labels))
    wanted = known.get(-1 if truth is None else truth), known.get(-1 if predicted is None else predicted)
    if None not in wanted:
        found = [answer for answer in answers.values() if (answer.label, answer.predicted) == wanted]
        how = "gets right" if truth == predicted else f"takes for {wanted[1]}"
        title = f"{count_noun(len(found), 'image')} of {wanted[0]} that the model {how}"
    else:
        found = [answer for answer in answers.values() if answer.label != answer.predicted]
        title = f"{count_noun(len(found), 'image')} that the model gets wrong"
    found.sort(key=lambda answer: (-answer.score, answer.digest))
    pages = max(1, math.ceil(len(found) / PHOTOS))
    page = min(max(1, page), pages)
    shown = found[(page - 1) * PHOTOS : page * PHOTOS]
    return Mistakes(title=title, photos=shown, total=len(found), page=page, pages=pages)


def _format_percent(share: float) -> str:
    """Return a share as a percentage; a share between 0 and 1 is never rounded to 0 or 100."""
    return f"{(min(max(share, 0.001), 0.999) if 0 < share < 1 else share) * 100:.1f}%"

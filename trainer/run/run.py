"""The run: the directory a training leaves, written as a whole or not at all.

    model/          SavedModel, one signature `serving_default`: image uint8 > logits, probabilities
    model.keras     the same as Keras's own file
    labels.txt      one class a line, in the order of the outputs
    recipe.json     how bytes become the tensor
    config.json     every setting as it was
    history.json    loss and accuracy per epoch
    metrics.json    what the held-out images said, and seconds per phase
    samples/        some held-out images, original bytes
    samples.json    sample > label, sha256
    split.jsonl     digest of every image > its label, side and group
    run.json        written last: what this is, made from what, and the digest of every file above

A run is written into a hidden sibling directory (`.NAME.unfinished/run`), synced to disk and renamed into place. It
exists when `run.json` does. Until then its checkpoints lie beside it, in `.NAME.unfinished/checkpoints`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eaves.base.files import rename_durably
from eaves.base.locks import unfinished_folder, unfinished_path
from eaves.errors import ArtifactError, RunError
from eaves.recipe import Recipe, parse_recipe
from trainer.data.split.stored_split import SPLIT_FILE, SplitEntry, parse_split

SCHEMA_VERSION = 1
MANIFEST = "run.json"
CONFIG = "config.json"
WORK, CHECKPOINTS = "run", "checkpoints"
TAKEN = "name another directory for the run, or remove that one"
"""Hint of the errors about a directory that holds something already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A complete run, as `run.json` tells it.

    Attributes:
        path: The directory.
        name: Of the model.
        version: `YYYYMMDD-HHMMSS-XXXXXXXX` (UTC, content digest): sorts by time and fits into a container image's tag.
        created: UTC, ISO 8601.
        arch: Name in the registry.
        mode: `frozen` or `full`.
        epochs: Passes over the training images.
        learning_rate: Its peak.
        weights: What the backbone started from: `kind`, `file` and `file_sha256`; and `backbone_sha256` as it is now.
        labels: Class names in the order of the outputs.
        recipe: How bytes become the model's input.
        dataset: Digest, split and counts of what it was trained on.
        data_faults: Files left out, each with its `file` and `reason`.
        val_accuracy: On the held-out images.
        verdict: What that is worth, the fields of `trainer.evaluation.model_quality.ModelQuality`; empty in runs of
            before.
        calibration: Whether logits are divided by a temperature and why, the fields of
            `trainer.evaluation.temperature.TemperatureCalibration`; empty in runs of before.
        scale: What pixels become and why, as `trainer.pixel_scale.scale_choice.ScaleChoice` gives it; empty in runs of
            before.
        versions: Of Python and of every distribution that was installed.
        files: Relative path to `sha256` and `size_bytes`, of everything but run.json.
        fingerprint: sha256 of settings and data: two runs that share it are the same training.
        code: sha256 over the modules that made it.
        hardware: What it was made on.
        schema_version: Of this meaning of these fields.
    """

    path: Path
    name: str
    version: str
    created: str
    arch: str
    mode: str
    epochs: int
    learning_rate: float
    weights: Mapping[str, str]
    labels: tuple[str, ...]
    recipe: Recipe
    dataset: Mapping[str, Any]
    data_faults: tuple[Mapping[str, str], ...]
    val_accuracy: float
    versions: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    fingerprint: str = ""
    code: str = ""
    hardware: Mapping[str, str] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    scale: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def saved_model(self) -> Path:
        """The SavedModel's directory."""
        return self.path / "model"

    def samples(self) -> tuple[ParitySample, ...]:
        """The held-out images that travel with the run, those of each class together."""
        listed = json.loads((self.path / "samples.json").read_text(encoding="utf-8"))
        return tuple(
            ParitySample(path=self.path / name, label=item["label"], sha256=item["sha256"])
            for name, item in listed.items()
        )

    def split(self) -> dict[str, SplitEntry] | None:
        """Digest of each image to its label, side and group; None in a run of before, which has no `split.jsonl`.

        Raises:
            RunError: The file can't be read.
        """
        file = self.path / SPLIT_FILE
        return parse_split(file.read_text(encoding="utf-8"), str(file)) if file.is_file() else None

    def metrics(self) -> dict[str, Any]:
        """What the held-out images said."""
        values: dict[str, Any] = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ParitySample:
    """A held-out image in a run.

    Attributes:
        path: The file, original bytes.
        label: Its class.
        sha256: Of its bytes, hex.
    """

    path: Path
    label: str
    sha256: str


def open_run(path: Path) -> Run:
    """Open a run and check every file in it against its digest (about 0.2 s for Inception V3).

    Raises:
        RunError: When it is not there, not complete or damaged.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise RunError(f"no run in {path}: it has no {MANIFEST}", hint="train one, or name another directory")
    again = "train it again, or copy it again as a whole"
    try:
        values = json.loads(manifest.read_text(encoding="utf-8"))
        found = values["schema_version"]
        if found != SCHEMA_VERSION:
            raise RunError(f"{manifest} has schema version {found!r}, not {SCHEMA_VERSION}", hint="update Eaves")
        run = _parse_run(path, values)
    except ArtifactError as error:
        raise RunError(f"{manifest}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{manifest} can't be read: {error}", hint=again) from error
    for name, entry in run.files.items():
        file = path / name
        if not file.is_file():
            raise RunError(f"the run in {path} is not complete: {name} is missing", hint=again)
        if file.stat().st_size != entry["size_bytes"] or _sha256(file) != entry["sha256"]:
            raise RunError(f"the run in {path} is damaged: {name} is not as it was written", hint=again)
    return run


def load_trained_on(path: Path) -> frozenset[str]:
    """sha256 of every image that the run in `path` was trained on, hex.

    Raises:
        RunError: When there is no run, or it is of before and doesn't tell.
    """
    entries = open_run(path).split()
    if entries is None:
        raise RunError(f"the run in {path} does not tell which images it was trained on", hint="train it again")
    return frozenset(entry.digest for entry in entries.values() if entry.split == "train")


def write_json(path: Path, values: Any) -> None:
    """Write one of a run's JSON files."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    # A file name may hold bytes that are no text: they become JSON escapes.
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def check_output(output: Path) -> None:
    """Before any work: the output is free, or holds a run (perhaps this one).

    Raises:
        RunError: When it holds something else.
    """
    if output.exists() and not (output / MANIFEST).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"{output} exists and holds something else", hint=TAKEN)


@contextmanager
def new_run(output: Path) -> Iterator[Path]:
    """A directory to fill beside `output`; `finish` makes it the run, anything else removes it.

    It is `.NAME.unfinished/run`. Beside it, `checkpoints` stays as long as there is no run; what else a killed process
    left behind is cleared away.

    Raises:
        RunError: When `output` holds something, or another process is writing it.
    """
    output = output.absolute()
    check_output(output)
    if (output / MANIFEST).is_file():
        raise RunError(f"{output} exists and holds a run", hint=TAKEN)
    busy = RunError(f"another process is writing {output}", hint="wait for it, or name another directory for the run")
    with unfinished_folder(output, refusal=busy, kept=(CHECKPOINTS,)) as place:
        work = place / WORK
        work.mkdir()
        try:
            yield work
        finally:
            if (output / MANIFEST).is_file():
                shutil.rmtree(place / CHECKPOINTS, ignore_errors=True)


def checkpoints_of(work: Path) -> Path:
    """Where the checkpoints of the run in `work` are, which outlive a killed process."""
    return work.parent / CHECKPOINTS


def checkpoints_beside(output: Path) -> Path:
    """Where the checkpoints of the run that becomes `output` are while it is not complete."""
    return unfinished_path(output.absolute()) / CHECKPOINTS


def finish(work: Path, output: Path, about: Mapping[str, Any]) -> Run:
    """Write `run.json`, sync everything to disk and move it into place.

    Args:
        work: As `new_run` gave it, filled.
        output: Where the run shall be.
        about: `Run`'s fields without those that follow from the files: path, version, created, files, schema_version.
    """
    names = sorted(str(file.relative_to(work)) for file in work.rglob("*") if file.is_file())
    files = {name: {"sha256": _sha256(work / name), "size_bytes": (work / name).stat().st_size} for name in names}
    content = hashlib.sha256(
        "".join(f"{entry['sha256']} {name}\n" for name, entry in files.items()).encode()
    ).hexdigest()
    now = datetime.now(UTC)
    values = {
        "schema_version": SCHEMA_VERSION,
        "name": about["name"],
        "version": f"{now:%Y%m%d-%H%M%S}-{content[:8]}",
        "created": now.isoformat(timespec="seconds"),
        **about,
        "files": files,
    }
    write_json(work / MANIFEST, values)
    rename_durably(work, output)
    return _parse_run(output, values)


def build_name(text: str) -> str:
    """A model's name out of any text: lower-case letters, digits and dashes, a letter first, at most 40."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-")
    return name if name[:1].isalpha() else f"model-{name}"[:40].strip("-")


def _parse_run(path: Path, values: Mapping[str, Any]) -> Run:
    later = ("fingerprint", "code", "hardware", "verdict", "calibration", "scale")  # runs of before don't have them
    known = {item.name: values[item.name] for item in fields(Run) if item.name not in ("path", *later)}
    known |= {name: values[name] for name in later if name in values}
    known |= {"labels": tuple(known["labels"]), "data_faults": tuple(known["data_faults"])}
    return Run(path=path, **{**known, "recipe": parse_recipe(known["recipe"])})


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

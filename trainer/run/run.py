"""Writes and opens a run: the directory that a training writes as a whole or not at all.

    model/          SavedModel, one signature `serving_default`: image uint8 to logits, probabilities
    model.keras     the model as Keras's own file
    labels.txt      one class per line, in the order of the outputs
    recipe.json     the recipe: how an image's bytes become the tensor
    config.json     all settings of the training
    history.json    loss and accuracy of each epoch
    metrics.json    results on the held-out images, and seconds per phase
    samples/        some held-out images with their original bytes
    samples.json    label and sha256 of each sample
    split.jsonl     label, side and group of every image by its digest
    held_out.jsonl  the model's answer to every held-out image, by the image's digest
    run.json        written last: properties and provenance of the run, and the digest of every file above

A run is written into a hidden sibling directory (`.NAME.unfinished/run`), synced to disk and renamed into place. It
exists when `run.json` does. Until then its checkpoints are beside it, in `.NAME.unfinished/checkpoints`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eaves.artifact.manifest import CLASSIFY
from eaves.artifact.store import file_digest
from eaves.base.files import rename_durably
from eaves.base.locks import unfinished_folder, unfinished_path
from eaves.errors import ArtifactError, RunError
from eaves.recipe import Recipe, parse_recipe
from trainer.data.splitting import CONFIG, find_trained, load_split
from trainer.run import MEAN_RECALL

SCHEMA_VERSION = 1
MANIFEST = "run.json"
WORK, CHECKPOINTS = "run", "checkpoints"
TAKEN_HINT = "name another directory for the run, or remove the existing one"
"""Hint of the errors about a directory that holds something already."""
LATEST = "latest.npz"
"""Name of the newest checkpoint, in `CHECKPOINTS`."""
_REPAIR_HINT = "train the model again, or copy the whole run again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A complete run, as `run.json` describes it.

    Attributes:
        path: Directory of the run.
        name: Name of the model.
        version: Version of the model, `YYYYMMDD-HHMMSS-XXXXXXXX` (UTC, content digest); it sorts by time and fits into
            a container image's tag.
        created: Time when the run was written, UTC, ISO 8601.
        task: Task of the model: `classify` or `anomaly`.
        arch: Name of the architecture.
        mode: Training mode: `frozen`, `sums` or `full`.
        epochs: Number of passes over the training images; 0 for a frozen backbone, whose head is solved.
        learning_rate: Peak learning rate; 0 for a frozen backbone.
        weights: Initial weights of the backbone: `kind`, `file` and `file_sha256`, `origin` and `licence` as far as
            known; and `backbone_sha256` after training.
        labels: Class names in the order of the outputs.
        recipe: Recipe that turns an image's bytes into the model's input.
        dataset: Digest, split and counts of the dataset.
        data_faults: Faults of the dataset's files, each with its `file`, `reason` and whether the file was `used`.
        val_accuracy: Accuracy on the held-out images, 0 to 1.
        verdict: Verdict on the model, the fields of `trainer.run.model_quality.ModelQuality`.
        calibration: Temperature of the logits and its reason, the result of `trainer.calibration.calibrate`.
        selection: Input size and pixel scale that the training began with, the result of
            `trainer.model.selector.ModelSelection.to_dict`.
        head: How the head was fitted, as text; empty if it was trained with the whole network.
        versions: Versions of Python and of every installed distribution.
        files: Relative path of every file but run.json, to its `sha256` and `size_bytes`.
        fingerprint: sha256 of settings and data; two runs with the same fingerprint are the same training.
        code: sha256 of the modules that made the run.
        hardware: Hardware that the run was made on.
        schema_version: Version of the format of run.json.
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
    fingerprint: str
    code: str
    hardware: Mapping[str, str]
    verdict: Mapping[str, Any]
    calibration: Mapping[str, Any]
    selection: Mapping[str, Any]
    head: str
    task: str = CLASSIFY
    schema_version: int = SCHEMA_VERSION

    @property
    def saved_model(self) -> Path:
        """Path of the SavedModel's directory."""
        return self.path / "model"

    @property
    def is_balanced(self) -> bool:
        """Whether the model is judged by its mean recall, because classes counted alike in its training."""
        return self.verdict.get("figure") == MEAN_RECALL

    def samples(self) -> tuple[ParitySample, ...]:
        """Load the held-out images that are stored in the run; in the result, the images of a class are together."""
        listed = json.loads((self.path / "samples.json").read_text(encoding="utf-8"))
        return tuple(
            ParitySample(path=self.path / name, label=item["label"], sha256=item["sha256"])
            for name, item in listed.items()
        )

    def metrics(self) -> dict[str, Any]:
        """Load the results on the held-out images from metrics.json."""
        values: dict[str, Any] = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ParitySample:
    """A held-out image that is stored in a run.

    Attributes:
        path: Path of the file with the image's original bytes.
        label: Name of the image's class.
        sha256: sha256 of the file's bytes, hex.
    """

    path: Path
    label: str
    sha256: str


def open_run(path: Path) -> Run:
    """Open a run and check every file in it against its digest (about 0.2 s for Inception V3).

    Raises:
        RunError: The run doesn't exist, is not complete or is damaged.
    """
    run = load_run(path)
    for name, entry in run.files.items():
        file = path / name
        if not file.is_file():
            raise RunError(f"the run in {path} is not complete: {name} is missing", hint=_REPAIR_HINT)
        if file.stat().st_size != entry["size_bytes"] or file_digest(file) != entry["sha256"]:
            raise RunError(f"the run in {path} is damaged: {name} has changed since it was written", hint=_REPAIR_HINT)
    return run


def load_run(path: Path) -> Run:
    """Load the properties of a run from run.json; its other files are not checked.

    Raises:
        RunError: There is no run.json, or this version of Eaves can't read it.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise RunError(
            f"{path} is not a run: it has no {MANIFEST}", hint="train a model (eaves train), or name another directory"
        )
    try:
        values = json.loads(manifest.read_text(encoding="utf-8"))
        found = values["schema_version"]
        if found != SCHEMA_VERSION:
            raise RunError(
                f"{manifest} has the schema version {found!r}; this version of Eaves reads {SCHEMA_VERSION}",
                hint="update Eaves",
            )
        return _parse_run(path, values)
    except ArtifactError as error:
        raise RunError(f"{manifest}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{manifest} can't be read: {error}", hint=_REPAIR_HINT) from error


def load_trained_on(path: Path) -> frozenset[str]:
    """Return the sha256 of every image that the run in `path` was trained on, hex.

    Raises:
        RunError: There is no run, or it is damaged.
    """
    return find_trained(load_split(open_run(path).path))


def render_json(values: Any) -> bytes:
    """Return the content of one of a run's JSON files; bytes of a file's name that are no text become escapes."""
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def check_output(output: Path) -> None:
    """Check that the output is free or holds a run, before any work is done.

    Raises:
        RunError: The output holds something else.
    """
    if output.exists() and not (output / MANIFEST).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"{output} exists and is not a run", hint=TAKEN_HINT)


@contextmanager
def new_run(output: Path) -> Iterator[Path]:
    """Yield a directory to fill beside `output`; `finish` makes it the run, any other end removes it.

    The directory is `.NAME.unfinished/run`. Beside it, `checkpoints` stays as long as there is no run; other files that
    a killed process left behind are removed.

    Raises:
        RunError: `output` holds something, or another process is writing it.
    """
    output = output.absolute()
    check_output(output)
    if (output / MANIFEST).is_file():
        raise RunError(f"{output} exists and holds a run", hint=TAKEN_HINT)
    busy = RunError(
        f"another process is writing {output}", hint="wait until it has finished, or name another directory for the run"
    )
    with unfinished_folder(output, refusal=busy, kept=(CHECKPOINTS,)) as place:
        work = place / WORK
        work.mkdir()
        try:
            yield work
        finally:
            if (output / MANIFEST).is_file():
                shutil.rmtree(place / CHECKPOINTS, ignore_errors=True)


def checkpoints_beside(output: Path) -> Path:
    """Return the folder with the checkpoints of the unfinished run at `output`; a killed process leaves it behind."""
    return unfinished_path(output.absolute()) / CHECKPOINTS


def clear_unfinished(output: Path) -> Iterator[str]:
    """Remove what ended trainings have left beside `output`, and yield a line for each; what is being written stays.

    A training that can be continued is kept, and its line says so.
    """
    for place in sorted(output.absolute().parent.glob(".*.unfinished")):
        run, kept = place.with_name(place.name[1:].removesuffix(".unfinished")), place / CHECKPOINTS
        if run == output.absolute() or not (kept.is_dir() or (place / WORK).is_dir()):
            continue
        is_kept = any((kept / name).is_file() for name in (CONFIG, LATEST))
        remedy = f"its command with --run {run} continues it; remove {place} if nobody will"
        left = (CHECKPOINTS,) if is_kept else ()
        with suppress(BlockingIOError), unfinished_folder(run, refusal=BlockingIOError(), kept=left):
            yield f"the training of {run} has not finished: {remedy if is_kept else 'what it left is removed'}"


def finish(work: Path, output: Path, about: Mapping[str, Any]) -> Run:
    """Write `run.json`, sync everything to disk and move the run into place.

    Args:
        work: Directory that `new_run` gave, with all files.
        output: Final directory of the run.
        about: Fields of `Run` without those that follow from the files: path, version, created, files, schema_version.
    """
    names = sorted(str(file.relative_to(work)) for file in work.rglob("*") if file.is_file())
    files = {name: {"sha256": file_digest(work / name), "size_bytes": (work / name).stat().st_size} for name in names}
    content = hashlib.sha256(
        "".join(f"{entry['sha256']} {name}\n" for name, entry in files.items()).encode()
    ).hexdigest()
    now = datetime.now(UTC)
    values = {
        "schema_version": SCHEMA_VERSION,
        "version": f"{now:%Y%m%d-%H%M%S}-{content[:8]}",
        "created": now.isoformat(timespec="seconds"),
        **about,
        "files": files,
    }
    (work / MANIFEST).write_bytes(render_json(values))
    rename_durably(work, output)
    return _parse_run(output, values)


def build_name(text: str) -> str:
    """Make a model's name from any text: at most 40 lower-case letters, digits and dashes, the first a letter."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-")
    return name if name[:1].isalpha() else f"model-{name}"[:40].strip("-")


def _parse_run(path: Path, values: Mapping[str, Any]) -> Run:
    values = {"task": CLASSIFY, **values}  # runs of earlier versions have no other
    known = {item.name: values[item.name] for item in fields(Run) if item.name != "path"}
    known |= {"labels": tuple(known["labels"]), "data_faults": tuple(known["data_faults"])}
    return Run(path=path, **{**known, "recipe": parse_recipe(known["recipe"])})

"""Opens the model that a conversion starts from: a run, or a foreign model with a declaration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.declaration import NAME, Declaration, Interface, declaration_error, load_declaration
from eaves.artifact import AnomalyRule, DecisionRule, LabelScores, TensorSpec
from eaves.artifact.manifest import CLASSIFY, MAP, MAX_EDGES, log_odds
from eaves.artifact.store import file_digest
from eaves.errors import ConversionError
from eaves.recipe import Recipe
from trainer.data.splitting import HELD_OUT_FILE, HeldOutAnswer, parse_lines
from trainer.run.run import MANIFEST, ParitySample, open_run

Route = Literal["run", "keras", "saved_model", "onnx"]
MAX_PER_LABEL, MAX_SAMPLES = 8, 200
"""Maximum number of sample images for each label and in total that are used to prove parity; a declared folder may hold
thousands."""
MAX_WATCHED = 100
"""Maximum number of labels of a model whose scores are watched later."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model to convert, with its properties.

    Attributes:
        route: Kind of the model's files.
        model: Path of a SavedModel directory, a `.keras` or an `.onnx` file.
        name: Name of the model.
        version: Version of the model.
        labels: Class names in the order of the outputs.
        recipe: Recipe that turns an image's bytes into a uint8 tensor; the scale of `interface` is applied in the
            graph. It means nothing for the task `tensor`.
        interface: Input and outputs of the model itself; it means nothing for the task `tensor`.
        digest: sha256 of a run's run.json, of a file, or of the sorted digests of a directory's files, hex.
        signature: Signature of a SavedModel.
        split: Whether training froze the backbone, so that backbone and head get a file of weights each.
        samples: Labelled images for the proof and the golden images; for the task `tensor`, files of one example each.
        temperature: Divisor of the logits before they become probabilities.
        figure: Figure that the run's model is judged by: `accuracy` or `mean recall`; empty if it is not known.
        decision: Rule that chooses the label from the probabilities.
        data_path: Folder or URI of the labelled images on which int8 is assessed; None when it is not known.
        licence: SPDX identifier of the model's licence; empty if not known.
        task: Task of the artifact.
        handler: Path of the handler.py that is copied into the artifact, or None.
        weights: What a run says about the weights that its training began with: `file_sha256`, `origin`, `licence`.
        input: Input of the graph; it is only known, and needed, for the task `tensor`.
        anomaly: Rule of a model of the task `anomaly`; None for others.
        label_scores: Scores of a run's held-out images for each label; empty if they are not known.
    """

    route: Route
    model: Path
    name: str
    version: str
    labels: tuple[str, ...]
    recipe: Recipe
    interface: Interface
    digest: str
    signature: str = "serving_default"
    split: bool = False
    samples: tuple[ParitySample, ...] = ()
    temperature: float = 1.0
    figure: str = ""
    decision: DecisionRule = field(default_factory=DecisionRule)
    data_path: str | None = None
    licence: str = ""
    task: str = CLASSIFY
    handler: Path | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    input: TensorSpec | None = None
    anomaly: AnomalyRule | None = None
    label_scores: tuple[LabelScores, ...] = ()

    @property
    def good(self) -> str:
        """Name of the class of good images, for the task `anomaly`; else empty."""
        return self.anomaly.good if self.anomaly else ""

    def job(self) -> dict[str, Any]:
        """Return the properties that child processes need, as plain data."""
        return {
            "route": self.route,
            "model": str(self.model.absolute()),
            "signature": self.signature,
            "recipe": self.recipe.to_dict(),
            "interface": asdict(self.interface),
            "further": [MAP] if self.anomaly else [],
            "handler": str(self.handler.absolute()) if self.handler else None,
            "input": self.input and asdict(self.input),
        }


def open_source(path: Path, declaration: Path | None = None, *, handler: Path | None = None) -> ModelSource:
    """Open and check the model at a path.

    Args:
        path: Path of a run, a SavedModel, a `.keras` or an `.onnx` file.
        declaration: Path of the declaration; None means the `model.yaml` in the directory or beside the file.
        handler: Path of the handler.py that is copied into the artifact; samples may then be files of any kind.

    Raises:
        RunError: The run is incomplete.
        ConfigError: The declaration has faults; the error lists all of them.
        ConversionError: The path holds none of these, or the declaration is missing.
    """
    if (path / MANIFEST).is_file():
        return replace(_open_run(path), handler=handler)
    route = route_of(path)
    beside = (path if path.is_dir() else path.parent) / NAME
    if not beside.is_file() and path.is_dir():
        beside = path.absolute().parent / NAME
    chosen = declaration or beside
    if not chosen.is_file():
        raise ConversionError(
            f"{path} needs a declaration of its labels and inputs, but {chosen} does not exist",
            hint=f"write {NAME} with name, labels, height, width, samples and the scale; see docs/model.md#convert",
        )
    declared = load_declaration(chosen)
    files, root = [path], path.parent
    if route == "onnx":
        from converters.untrusted_onnx import external_files

        files += external_files(path)
    elif route == "saved_model":
        files, root = [file for file in path.rglob("*") if file.is_file() and file != path / NAME], path
    if files == [path]:
        digest = file_digest(path)
    else:
        lines = sorted(f"{file.relative_to(root)} {file_digest(file)}\n" for file in files)
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    common: dict[str, Any] = {
        "route": route,
        "model": path,
        "name": declared.name,
        "version": declared.version or f"0-{digest[:8]}",
        "labels": declared.labels,
        "digest": digest,
        "licence": declared.licence,
        "task": declared.task,
        "handler": handler,
    }
    if isinstance(declared, Declaration):
        return ModelSource(
            **common,
            recipe=declared.recipe,
            interface=declared.interface,
            signature=declared.signature,
            samples=_samples(declared, any_kind=handler is not None),
            data_path=str(declared.samples),
        )
    if route != "onnx":
        raise ConversionError(
            f"{path} is not an .onnx file, which the task tensor requires",
            hint="export the model to ONNX: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
        )
    found = declared.samples.glob("[!.]*" if handler else "*.json")
    files = sorted(file for file in found if file.is_file())[:MAX_SAMPLES]
    if not files:
        message = f"the folder of samples {declared.samples} has no .json files"
        raise declaration_error(NAME, "samples", message)
    samples = tuple(ParitySample(path=file, label="", sha256=file_digest(file)) for file in files)
    return ModelSource(**common, samples=samples, recipe=Recipe(height=1, width=1), interface=Interface())


def _open_run(path: Path) -> ModelSource:
    run = open_run(path)
    metrics = run.metrics()
    rule = metrics.get("anomaly", {}).get("rule")
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        data_path = str(config["data"]["path"])
    # the config is of another version; without its data path, int8 can't be assessed
    except (OSError, ValueError, KeyError, TypeError):
        data_path = None
    return ModelSource(
        route="run",
        model=run.saved_model,
        name=run.name,
        version=run.version,
        labels=run.labels,
        recipe=run.recipe,
        interface=Interface(),
        digest=file_digest(path / MANIFEST),
        split=run.mode != "full",
        samples=run.samples(),
        temperature=float(metrics.get("temperature", 1.0)),
        figure=str(run.verdict.get("figure", "")),
        decision=DecisionRule(label_weights=tuple(metrics.get("decision", {}).get("label_weights", ()))),
        data_path=data_path,
        weights=run.weights,
        task=run.task,
        anomaly=AnomalyRule(**rule | {"calibration": tuple(rule["calibration"])}) if rule else None,
        label_scores=_find_label_scores(path, run.labels) if run.task == CLASSIFY else (),
    )


def _find_label_scores(run: Path, labels: Sequence[str]) -> tuple[LabelScores, ...]:
    """Return where the scores of a run's held-out images lie, for each label; empty if it has no file of answers."""
    file = run / HELD_OUT_FILE
    if not file.is_file() or len(labels) > MAX_WATCHED:
        return ()
    return summarize_scores([*parse_lines(file.read_text(encoding="utf-8"), str(file), HeldOutAnswer).values()], labels)


def summarize_scores(answers: Sequence[HeldOutAnswer], labels: Sequence[str]) -> tuple[LabelScores, ...]:
    """Return where the scores of held-out images lie, for each label that the model gives them."""
    found = []
    for label in labels:
        own = [answer for answer in answers if answer.predicted == label]
        odds = [log_odds(answer.score, 1 - answer.score) for answer in own]
        found.append(summarize_odds(odds, groups=len({answer.group or answer.digest for answer in own})))
    return tuple(found)


def summarize_odds(odds: Sequence[float], groups: int) -> LabelScores:
    """Return where the log odds of some images of a number of groups lie."""
    count = min(len(odds), MAX_EDGES)
    shares = [rank / (count + 1) for rank in range(1, count + 1)]
    # As many further images are expected between two edges as between any others: rank / (N + 1).
    edges = np.quantile(odds, shares, method="weibull").round(3).tolist() if len(odds) else []
    return LabelScores(edges=tuple(edges), groups=groups)


def route_of(path: Path) -> Route:
    """Return the kind of a foreign model's files.

    Raises:
        ConversionError: The kind is not known.
    """
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    if path.is_file() and path.suffix == ".keras":
        return "keras"
    if path.is_file() and path.suffix == ".onnx":
        return "onnx"
    if not path.exists():
        found = "it does not exist"
    elif path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        found = f"it is a directory with {', '.join(names[:8]) or 'nothing in it'}{', ...' if len(names) > 8 else ''}"
    else:
        found = f"it is a file that ends in {path.suffix or 'nothing'}"
    raise ConversionError(
        f"{path} is not a model that can be converted: {found}",
        hint="name a run (it holds run.json), a SavedModel (saved_model.pb), a .keras file or an .onnx file",
    )


def _samples(declared: Declaration, *, any_kind: bool) -> tuple[ParitySample, ...]:
    """Return the first images of each label by name, the same number for each label."""
    per_label = max(1, min(MAX_PER_LABEL, MAX_SAMPLES // len(declared.labels)))
    chosen: list[ParitySample] = []
    for label in declared.labels:
        folder = declared.samples / label
        if "/" in label or label in (".", ".."):  # such a label would name another folder
            continue
        found = folder.glob("[!.]*") if any_kind else (f for f in folder.glob("*") if f.suffix.lower() in SUFFIXES)
        files = sorted(file for file in found if file.is_file())
        chosen += [ParitySample(path=file, label=label, sha256=file_digest(file)) for file in files[:per_label]]
    if not chosen:
        named = ", ".join(declared.labels[:5])
        message = (
            f"the folder of samples {declared.samples} has no images in subfolders named like the labels ({named})"
        )
        raise declaration_error(NAME, "samples", message)
    return tuple(chosen[:: -(-len(chosen) // MAX_SAMPLES)])

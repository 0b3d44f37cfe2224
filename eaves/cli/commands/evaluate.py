"""Commands on labelled images: `eaves data` checks them, `evaluate` and `compare` measure models on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves import logs
from eaves.artifact.manifest import ANOMALY
from eaves.base.files import write_atomically
from eaves.base.statistics import round_outward
from eaves.cli import CommandGroup
from eaves.cli.output import Columns, Command, output_option, print_rows, print_sentence, print_value, say
from eaves.cli.project import (
    DEFAULT_SOURCE_NAME,
    DIRECTORY,
    RUN,
    ModelPath,
    Workspace,
    build_default_project,
    find_latest,
    load_workspace,
    newest,
)
from eaves.cli.site import FILE, file_option, state_option
from eaves.console.words import count_noun
from eaves.errors import ConfigError, DatasetError, EavesError, NotRunningError, RunError

if TYPE_CHECKING:
    from converters.evaluation.images import LabelledImages
    from converters.evaluation.metrics import Evaluation, Pairing
    from trainer.check import Inspection
    from trainer.data.listing import DataFault
    from trainer.progress import TrainingProgress
    from trainer.storage import FileStore


COLUMNS = {
    "label": "CLASS",
    "images": "IMAGES",
    "recall": "RECALL (95 %)",
    "precision": "PRECISION (95 %)",
    "taken_for": "TAKEN FOR",
}


def _options(command: Command) -> Command:
    """Add the options that `_measure` takes."""
    held_out_of = click.option(
        "--held-out-of",
        type=ModelPath(exists=True, file_okay=False),
        help="Run whose training images are left out. The training images of a model that is a run are always left "
        "out.",
    )
    return held_out_of(output_option(command))


@click.command()
@click.argument("model")
@click.argument("data", default="")
@_options
@click.option(
    "--audit",
    is_flag=True,
    help="Use the labelled photos in the folder audit of DATA alone, which no model is trained on. DATA defaults to "
    "data.path of eaves.yaml.",
)
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="End with exit code 1 when the lower end of the model's 95 % interval is below this, 0 to 1.",
)
@click.pass_context
def evaluate(
    context: click.Context, /, model: str, data: str, min_accuracy: float | None, audit: bool, **options: Any
) -> None:
    """Measure the accuracy of a model on the labelled images in DATA.

    MODEL is the directory of a run or of an artifact.

    DATA is a path or URI of a folder with one subfolder of images per class, a manifest (.csv) or an archive.
    In a folder with the subfolders train and val, only the images in val are used.
    """
    if not data and not audit:
        raise click.UsageError("Missing argument 'DATA'.")
    data = data or str(load_workspace(Path(FILE), needs_data=True).data.path)
    (evaluation,) = _measure((model,), data, audit=audit, **options)
    if min_accuracy is not None and evaluation.interval[0] < min_accuracy:
        say(f"the lower end of the accuracy is below --min-accuracy {min_accuracy}")
        context.exit(1)


@click.command()
@click.argument("first")
@click.argument("second")
@click.argument("data")
@_options
def compare(first: str, second: str, data: str, **options: Any) -> None:
    """Compare the models FIRST and SECOND on the labelled images in DATA.

    Each is the directory of a run or of an artifact. Images that a run was trained on, and copies of them, are left
    out. DATA is what `eaves evaluate` takes.
    """
    _measure((first, second), data, **options)


@click.command()
@click.argument("artifact", type=ModelPath(exists=True, file_okay=False))
@click.option(
    "--review",
    type=ModelPath(exists=True, dir_okay=False),
    help="Review of the labels, as `eaves data check --review FILE` writes it: labels that are new must not contradict "
    "the others more often than earlier ones do.",
)
@file_option
@state_option
def gate(artifact: Path, review: Path | None, file: Path, state_dir: Path) -> None:
    """Check whether ARTIFACT is good enough to be deployed on this machine.

    The rule is that of a pipeline before it publishes a model (the section `pipeline` of eaves.yaml): the images that
    the run runs/NAME of artifacts/NAME held out must show that the model is good enough, and not worse than the one
    that is deployed. The answer is stored in artifacts/NAME.gate.json, for the page of the run. The command ends with
    exit code 79 when the model is refused.
    """
    from converters.deployment_check import DeployedModel, check_deployment
    from eaves.artifact import open_artifact
    from eaves.local.client import LocalPlatform
    from eaves.model_publication import build_publication
    from trainer.run.run_location import build_location

    workspace = load_workspace(file, needs_data=True)
    name, settings = workspace.project.name, workspace.project.pipeline
    deployed = [
        DeployedModel(name="the deployed model", artifact_digest=one.artifact_digest, path=Path(one.artifact))
        for one in LocalPlatform(state_dir).status()
        if one.name == name and one.artifact
    ]
    opened, run = open_artifact(artifact.absolute()), build_location(workspace.runs / artifact.name, None)
    answer = check_deployment(
        opened, run, workspace.data, name, deployed, settings, review=review, progress=build_bars()
    )
    for line in answer.lines:
        print_sentence(line)
    event = build_publication(opened, f"{opened.path.as_uri()}@sha256:{opened.digest}", site=workspace.project.site)
    try:
        LocalPlatform(state_dir).publish(event)
    except NotRunningError:
        pass
    except EavesError as error:  # the model has passed all the same
        say(f"the pass is not announced: {error.message}")


def _measure(
    models: Sequence[str], data: str, *, held_out_of: Path | None, form: str, audit: bool = False
) -> tuple[Evaluation, ...]:
    """Measure one or two models on the same images, and print what was found."""
    from converters.evaluation.audit import load_unseen_audit
    from converters.evaluation.images import load_unseen_images
    from converters.evaluation.metrics import evaluate, pair
    from converters.evaluation.models import open_model
    from trainer.storage import open_store
    from trainer.tensorflow_notices import prepare_tensorflow

    prepare_tensorflow()
    progress = build_bars()
    path, faults = find_labelled_data(data, progress)
    opened = [open_model(find_latest(Path(model))) for model in models]
    if audit:
        runs = held_out_of.absolute().parent if held_out_of else Path("runs")
        found = load_unseen_audit(path, opened, open_store(runs), progress=progress)
        if not found.images:
            message = f"{path} has no labelled photos of an audit sample that the model was not trained on"
            raise DatasetError(message, hint="label photos in its folder audit, on the page Labels of the console")
    else:
        found = load_unseen_images(path, opened, held_out_of, faults, cache=find_image_cache(), progress=progress)
    evaluations = tuple(evaluate(model, found, progress) for model in opened)
    pairing = pair(*evaluations) if len(evaluations) == 2 else None
    if form == "table":
        _print(found, evaluations, pairing)
    else:
        value = {
            "models": [evaluation.to_dict() for evaluation in evaluations],
            "pairing": pairing.to_dict() if pairing else None,
            "trained_on_left_out": found.trained_on,
            "copies_left_out": found.copies,
            "trained_on_notes": list(found.notes),
            "not_used": [{"file": fault.file, "reason": fault.reason} for fault in found.faults],
        }
        print_value(value, form)
    return evaluations


def _print(found: LabelledImages, evaluations: tuple[Evaluation, ...], pairing: Pairing | None) -> None:
    from converters.evaluation.images import describe_left_out
    from trainer.data.listing import render_not_used

    if found.trained_on:
        say(f"{found.trained_on} images are left out, because a model was trained on them")
    for line in (*describe_left_out(found), *render_not_used(found.faults)):
        say(line)
    for evaluation in evaluations:
        _print_model(evaluation)
    if pairing:
        low, high = round_outward(pairing.interval, 3)
        print_sentence(
            f"the second model's {pairing.figure} differs by {pairing.difference * 100:+.1f} points "
            f"({low * 100:+.1f} to {high * 100:+.1f} with 95 % confidence)"
        )
        both = pairing.count(first=True, second=True)
        print_sentence(
            f"of {pairing.images} images, both models are right on {both}, only the first on {pairing.lost}, only the "
            f"second on {pairing.gained}"
        )
        print_sentence(f"the models' labels differ on {len(pairing.differing)} images")
    for number, evaluation in enumerate(evaluations, 1):
        print_sentence(f"{f'MODEL {number}: ' if pairing else ''}{evaluation.quality.text}")


def _print_model(evaluation: Evaluation) -> None:
    from trainer.run.model_quality import count_images

    (low, high), times = round_outward(evaluation.interval, 3), evaluation.times_ms()
    measured, figure = evaluation.measured, evaluation.measured["figure"]
    print_sentence(f"{evaluation.kind} {evaluation.name}")
    print_sentence(
        f"{figure['name']} {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f} with 95 % confidence) on "
        f"{count_images(figure['images'], figure['groups'])}"
    )
    error = "" if "kinds" in measured else f"calibration error {evaluation.calibration_error:.3f}; "
    print_sentence(f"{error}time for one image: median {times['median']:.1f} ms, 95 % within {times['p95']:.1f} ms")
    if evaluation.refused:
        first = evaluation.refused[0]
        say(f"{len(evaluation.refused)} images can't be read, such as {first.file}: {first.reason}")
    rows = []
    for number, (label, figures) in enumerate(measured["per_class"].items()):
        pairs = zip(measured["confusion"][number], measured["labels"], strict=True)
        count, other = max((pair for pair in pairs if pair[1] != label), default=(0, ""))
        row = {"label": label, "images": figures["images"], "taken_for": f"{other} ({count})" if count else ""}
        for name in ("recall", "precision"):
            share, interval = figures[name], figures[f"{name}_interval_95"]
            low, high = round_outward((interval[0], interval[1]), 2)
            row[name] = "" if share is None else f"{share:.2f} ({low:.2f}-{high:.2f})"  # None: there were no images
        rows.append(row)
    print_rows(rows, COLUMNS, "table")
    for kind, figures in measured.get("kinds", {}).items():
        (low, high), alarms = round_outward(figures["interval_95"], 2), f"{figures['alarms']} of {figures['images']}"
        line = f"{kind}: {alarms} raise an alarm ({low:.2f} to {high:.2f} with 95 % confidence)"
        if "auroc" in figures:
            low, high = round_outward(figures["auroc_interval_95"], 3)
            line += f"; AUROC {figures['auroc']:.3f} ({low:.3f} to {high:.3f})"
        print_sentence(line)


CLASS_COLUMNS: Columns = {"label": "CLASS", "images": "IMAGES"}
SHOWN = 3
"""Maximum number of file names in one line of text; JSON lists all of them."""


@click.group(cls=CommandGroup)
def data() -> None:
    """Check labelled images before training."""


@data.command()
@click.argument("path", required=False)
@output_option
@click.option(
    "--review",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write what the page Labels shows about the photos of a folder into this file, as JSON, and report nothing "
    "else: photos that look alike, suggested labels, doubtful labels, and what more labels would bring.",
)
def check(path: str | None, form: str, review: Path | None) -> None:
    """Report what training finds in PATH: classes, copies, unused files and doubtful labels.

    PATH is a path or URI of a folder with one subfolder of images per class, a manifest (.csv) or an archive.
    Without PATH, it is data.path of eaves.yaml. The command changes no image. It ends with exit code 1 when training
    would refuse the images.
    """
    good, workspace = "", _find_workspace(needs_data=path is None)
    if path is None:
        data, settings = workspace.project.data, workspace.project.train
        path, good = str(data.path), settings.good if settings.task == ANOMALY else ""
    from trainer.check import inspect_data
    from trainer.run.run_location import FEATURES
    from trainer.storage import open_store
    from trainer.tensorflow_notices import prepare_tensorflow

    prepare_tensorflow()
    progress = build_bars()
    place, faults = find_labelled_data(path, progress)
    features, side = open_store(find_image_cache() / FEATURES), _find_side(workspace)
    if review:
        _write_review(place, review, features, workspace.project.data.group_by, side)
        return
    found = inspect_data(place, features=features, progress=progress, faults=faults, good=good, side=side)
    if form == "table":
        _print_inspection(found)
    else:
        print_value(asdict(found), form)
    if found.problems:
        click.get_current_context().exit(1)


@data.command()
@click.argument("source")
@click.argument("folder", type=DIRECTORY)
@click.option("--images", type=click.IntRange(1), default=200, show_default=True, help="Number of images to collect.")
def collect(source: str, folder: Path, images: int) -> None:
    """Collect images from SOURCE into FOLDER, beside its subfolders of classes, as images without a label.

    SOURCE is a URL, a folder, a video or its device; `-` reads it from standard input, because other users may see
    the passwords in a command line. The command ends when no new image comes any more.
    """
    from eaves.cli.app import configure_guest
    from eaves.cli.collection import collect_into
    from eaves.sources.collecting import CollectedImages
    from eaves.sources.kind import parse_place

    address = sys.stdin.readline().strip() if source == "-" else source
    if (place := parse_place(address)) is None:  # without the text: it may hold a password
        raise ConfigError.single("SOURCE", "", "must be a URL, a folder, a video or its device")
    if Path(address).is_dir() and folder.resolve().is_relative_to(Path(address).resolve()):
        raise ConfigError.single("SOURCE", "", f"{address} holds the folder that gets the images, {folder}")
    site = _find_workspace().project.site
    named = {"name": DEFAULT_SOURCE_NAME, **place}
    configured = configure_guest(named, "SOURCE", command="collect", site=site)
    found = CollectedImages(folder, folder)
    collect_into(found, configured, site, len(found) + images, ends=True)


def _find_workspace(*, needs_data: bool = False) -> Workspace:
    if needs_data or Path(FILE).is_file():
        return load_workspace(Path(FILE), needs_data=needs_data)
    return Workspace(root=Path(), project=build_default_project(), origin="")


def _find_side(workspace: Workspace) -> int:
    """Return the input's side of the model that labels are for, if it has the default network; 0 when it isn't known.

    It is that of the settings, else that of the newest run, as a training may select it.
    """
    from trainer.model.architectures import PRETRAINED
    from trainer.run.run import load_run

    settings, path = workspace.project.train, newest(workspace.runs, RUN)
    if settings.image_size and settings.architecture.name == PRETRAINED:
        return settings.image_size
    with suppress(RunError):
        if path is not None and (run := load_run(path)).arch == PRETRAINED:
            return run.recipe.height
    return 0


def _write_review(folder: Path, file: Path, features: FileStore, group_by: str, side: int) -> None:
    """Write the review of a folder's photos and labels into a file; see `trainer.labelling.review_labels`."""
    from trainer.labelling import review_labels
    from trainer.progress import build_progress

    if folder.is_file():
        raise DatasetError(f"{folder} is not a folder", hint="name the folder of the photos that are labelled")
    logs.configure(as_json=False)
    found = review_labels(folder, group_by=group_by, side=side, features=features, progress=build_progress(sys.stderr))
    write_atomically(file, json.dumps(asdict(found)))
    print_sentence(found.text)


def _print_inspection(found: Inspection) -> None:
    if found.classes:
        print_rows(
            [{"label": label, "images": count} for label, count in found.classes.items()], CLASS_COLUMNS, "table"
        )
    if found.images:
        print_sentence(count_noun(found.images, "image"))
    else:
        print_sentence(f"{found.root} holds no image that can be trained on")
    for cause in found.not_used:
        print_sentence(f"not used: {count_noun(len(cause.files), 'file')}: {cause.reason}: {_some(cause.files)}")
    for note in found.notes:
        print_sentence(note)
    across, within = "look at these: nearly the same picture in several classes", "nearly the same picture in one class"
    for kind, groups in ((across, found.copies_across_classes), (within, found.copies)):
        for group in groups[:SHOWN]:
            print_sentence(f"{kind}: {_some(group)}")
    if found.judgement:
        print_sentence(found.judgement)
    for one in found.doubtful_labels[: 2 * SHOWN]:
        print_sentence(f"doubtful label: {one['file']} is labelled {one['label']}, looks like {one['looks_like']}")
    for problem in found.problems:
        print_sentence(f"training would refuse: {problem}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


CACHE = Path("runs/.cache")
"""Folder in which trainings keep labelled images that they downloaded or unpacked."""


def find_labelled_data(place: str, progress: TrainingProgress) -> tuple[Path, tuple[DataFault, ...]]:
    """Return the local folder or manifest of labelled images, and the files that were left out, with reasons.

    What is downloaded or unpacked first, as training does, is kept in `find_image_cache()`.

    Args:
        place: Path or URI of a folder, a manifest or an archive; a path may lead to nothing.
        progress: Receiver of the progress of every download.

    Raises:
        DatasetError: When nothing is at the URI, or when the archive isn't safe to unpack.
        StorageError: When the URI can't be reached, or when the disk is full.
    """
    from trainer.data.dataset import find_local
    from trainer.settings import DataSettings

    return find_local(DataSettings(path=place), cache=find_image_cache(), progress=progress)


def find_image_cache() -> Path:
    """Return the folder for images that are downloaded or unpacked: the project's, else that of the user."""
    in_project = CACHE.parent.is_dir() or Path(FILE).is_file()
    return CACHE if in_project else Path.home() / ".cache" / "eaves"


def build_bars() -> TrainingProgress:
    """Return a progress display with bars on stderr when stderr is a terminal, else one that shows nothing."""
    from trainer.progress import SilentProgress, build_progress

    return build_progress(sys.stderr) if sys.stderr.isatty() else SilentProgress()

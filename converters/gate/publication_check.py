"""Checks whether a new artifact may be published, on held-out images and against the models published before."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from converters.evaluation.artifact_model import ArtifactModel
from converters.evaluation.labelled_images import (
    LabelledImages,
    describe_left_out,
    leave_out_copies,
    load_labelled_images,
    with_groups,
)
from converters.evaluation.metrics import Evaluation, evaluate
from converters.evaluation.paired_comparison import Pairing, pair
from converters.evaluation.trained_images import find_trained_looks
from converters.gate.decision import check_floor, check_replacement
from converters.gate.published_model import NOTHING, Published, PublishedModels, find_published
from converters.gate.settings import NEVER, PipelineSettings
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.manifest import CLASSIFY
from eaves.artifact.permitted_files import HANDLER
from eaves.errors import DatasetError, OciNotFoundError, RefusedModelError, RunError
from eaves.oci.registry.registry import Access
from trainer.data.reading import find_local
from trainer.data.split.stored_split import SPLIT_FILE, parse_split
from trainer.progress import TrainingProgress
from trainer.run.run import MANIFEST, open_run
from trainer.run.run_location import RunLocation
from trainer.settings import DataSettings

_UNCOMPARED = "set pipeline.max_accuracy_drop to 100 for this training, to publish it without a comparison"
AT_MOST = 5000
"""Maximum number of images that a model is evaluated on. That many images suffice to detect a loss of 1 percentage
point of accuracy if the models give different answers to 6 % of the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Result of the check of a model that may be published.

    Attributes:
        lines: Lines with the figures by which the model passed.
        published: The models that are published already.
        best: Best model so far among those; None when it is the new one.
        again: Whether the model itself is published already, so that no role changes.
    """

    lines: tuple[str, ...]
    published: PublishedModels = NOTHING
    best: Published | None = None
    again: bool = False


def check_publication(
    path: Path, place: RunLocation, data: DataSettings, tag: str, settings: PipelineSettings, *, access: Access,
    progress: TrainingProgress,
) -> Passed:  # fmt: skip
    """Check whether a model may be published, by its artifact.

    Args:
        path: Directory of the artifact, beside those of earlier models.
        place: Location of the model's run.
        data: Settings that name the run's images.
        tag: Container image name to publish to, as `eaves package` takes it.
        settings: Settings with the requirements.
        access: Access to the registry.
        progress: Receives one step for each image.

    Raises:
        RefusedModelError: The model is not good enough, or the evidence doesn't suffice.
        EavesError: The images, the run or the registry can't be read.
    """
    artifact = open_artifact(path)
    if artifact.manifest.task != CLASSIFY:
        line = f"the model is not checked: a model of the task {artifact.manifest.task} has no accuracy"
        return Passed(lines=(line,), again=True)
    models = find_published(tag, artifact.manifest.version, access)
    for found in (models.own, models.last):
        if found is not None and found.artifact_digest == artifact.digest:
            line = f"{found.name} is this model; it was checked before it was published"
            return Passed(lines=(line,), again=True)
    images = _held_out(place, data, progress)
    evaluation = evaluate(ArtifactModel(path), images, progress)
    lines = [*describe_left_out(images), check_floor(evaluation, settings), *models.lines]
    references = [found for found in models.references() if found.artifact_digest != artifact.digest]
    if not references:
        lines.append("the model is not compared: no earlier model is published here")
        return Passed(lines=tuple(lines), published=models)
    if settings.max_accuracy_drop >= NEVER:
        lines.append(
            "the model is not compared: pipeline.max_accuracy_drop turns the comparison off; the next ones are "
            "compared with it"
        )
        return Passed(lines=tuple(lines), published=models)
    gone, exceeded = set[str](), set[str]()
    for reference in references:
        try:
            with reference.artifact(path.parent, place.cache / "published") as earlier:
                pairing, note = _compare(reference, earlier, artifact, evaluation, images, place, progress)
        except OciNotFoundError as error:
            gone.add(reference.artifact_digest)
            lines.append(f"{reference.name} can't be fetched any more and is left out: {error.message}")
            continue
        lines.append(check_replacement(pairing, reference.name, settings, note=note))
        if pairing.interval[0] > 0:
            exceeded.add(reference.artifact_digest)
    candidates = (found for found in (models.best, models.last) if found and found.artifact_digest not in gone)
    best = next(candidates, None)
    if best is not None and best.artifact_digest in exceeded:
        best = None
    if best is None:
        lines.append("the model is the best one so far, with which the next ones are compared")
    return Passed(lines=tuple(lines), published=models, best=best)


def _compare(
    reference: Published, earlier: Artifact, artifact: Artifact, evaluation: Evaluation, images: LabelledImages,
    place: RunLocation, progress: TrainingProgress,
) -> tuple[Pairing, str]:  # fmt: skip
    """Compare an earlier model with the new one, on images that the earlier one wasn't trained on.

    Returns:
        pairing: The comparison.
        note: Uncertainty about the images, for the message of a refusal; empty if there is none.

    Raises:
        RefusedModelError: The earlier model can't be evaluated on any image.
    """
    _check_handler(earlier, artifact, reference)
    trained_on = _find_trained_on(place, earlier.manifest.version)
    shared = [image for image in images.images if image.digest not in (trained_on or ())]
    shared = [image for image in shared if image.label in earlier.manifest.labels]
    if not shared:
        raise RefusedModelError(
            f"the model is not published: {reference.name} has none of the held-out images' classes, or was trained on "
            "all their images, so the loss of accuracy can't be measured",
            hint=_UNCOMPARED,
        )
    before = evaluate(ArtifactModel(earlier.path), replace(images, images=tuple(shared)), progress)
    note = f"; {reference.name} may have been trained on some of them: its run is not beside this one"
    return pair(before, evaluation), note if trained_on is None else ""


def _held_out(place: RunLocation, data: DataSettings, progress: TrainingProgress) -> LabelledImages:
    """Load the images that the run held out and that still exist, at most `AT_MOST` of them, chosen by digest.

    Copies of its training images, which a split that the data declare may hold out, are left out.

    Raises:
        RunError: The run doesn't store which images it held out.
        DatasetError: None of the images exists any more.
    """
    split = open_run(place.local).split()
    if split is None:
        raise RunError(f"the run {place.local} does not list its held-out images", hint="train the model again")
    path, faults = find_local(data, cache=place.cache, progress=progress)
    trained_on = {digest for digest, one in split.items() if one.split == "train"}
    found = with_groups(load_labelled_images(path, trained_on, faults), [split])
    left = sorted((image for image in found.images if image.digest in split), key=lambda image: image.digest)[:AT_MOST]
    if not left:
        raise DatasetError(f"none of the images that the run held out is still in {path}", hint="train the model again")
    looks = find_trained_looks(trained_on, path, (), cache=place.cache, progress=progress)
    return leave_out_copies(replace(found, images=tuple(left)), looks, progress)


def _find_trained_on(place: RunLocation, version: str) -> frozenset[str] | None:
    """Return the sha256, hex, of the images that the model of this version was trained on.

    The run of that version is searched for beside the run at `place`; None when it is not there.
    """
    for name in place.beside().folders():
        store = place.beside().at(name)
        with suppress(RunError, ValueError, KeyError, TypeError):  # something else, or a run of an older Eaves
            if store.exists(SPLIT_FILE) and json.loads(store.read(MANIFEST))["version"] == version:
                split = parse_split(store.read(SPLIT_FILE).decode(), store.uri)
                return frozenset(digest for digest, entry in split.items() if entry.split == "train")
    return None


def _check_handler(earlier: Artifact, artifact: Artifact, last: Published) -> None:
    """Check that the earlier model has no handler.py or the new model's; no other handler.py is ever run.

    Raises:
        RefusedModelError: The earlier model's handler.py is other code.
    """
    handler, known = (one.manifest.files.get(HANDLER) for one in (earlier, artifact))
    if handler is not None and (known is None or known.sha256 != handler.sha256):
        raise RefusedModelError(
            f"the model is not published: {last.name} has another {HANDLER}, which is not run here, so the loss "
            "of accuracy can't be measured",
            hint=_UNCOMPARED,
        )

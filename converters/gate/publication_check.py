"""Checks whether a new artifact may be published, on held-out images and against the model that it replaces."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from converters.evaluation.artifact_model import ArtifactModel
from converters.evaluation.labelled_images import (
    LabelledImages,
    describe_left_out,
    leave_out_copies,
    load_labelled_images,
    with_groups,
)
from converters.evaluation.metrics import evaluate
from converters.evaluation.paired_comparison import pair
from converters.evaluation.trained_images import find_trained_looks
from converters.gate.decision import check_floor, check_replacement
from converters.gate.published_model import Published, find_published
from converters.gate.settings import NEVER, PipelineSettings
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.manifest import CLASSIFY
from eaves.artifact.permitted_files import HANDLER
from eaves.errors import DatasetError, RefusedModelError, RunError
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


def check_publication(
    path: Path, place: RunLocation, data: DataSettings, tag: str, settings: PipelineSettings, *, access: Access,
    progress: TrainingProgress,
) -> list[str]:  # fmt: skip
    """Check whether a model may be published, by its artifact.

    Args:
        path: Directory of the artifact, beside those of earlier models.
        place: Location of the model's run.
        data: Settings that name the run's images.
        tag: Container image name to publish to, as `eaves package` takes it.
        settings: Settings with the requirements.
        access: Access to the registry.
        progress: Receives one step for each image.

    Returns:
        Lines with the figures by which the model passed.

    Raises:
        RefusedModelError: The model is not good enough, or the evidence doesn't suffice.
        EavesError: The images, the run or the registry can't be read.
    """
    artifact = open_artifact(path)
    if artifact.manifest.task != CLASSIFY:
        return [f"the model is not checked: a model of the task {artifact.manifest.task} has no accuracy"]
    own, last = find_published(tag, artifact.manifest.version, access)
    for found in (own, last):
        if found is not None and found.artifact_digest == artifact.digest:
            return [f"{found.name} is this model; it was checked before it was published"]
    images = _held_out(place, data, progress)
    model = ArtifactModel(path)
    evaluation = evaluate(model, images, progress)
    lines = [*describe_left_out(images), check_floor(evaluation, settings)]
    if last is None or settings.max_accuracy_drop >= NEVER:
        return [
            *lines,
            "the model is not compared: no earlier model is published here"
            if last is None
            else ("the model is not compared: pipeline.max_accuracy_drop turns the comparison off"),
        ]
    with last.artifact(path.parent, place.cache / "published") as earlier:
        _check_handler(earlier, artifact, last)
        trained_on = _find_trained_on(place, earlier.manifest.version)
        shared = [image for image in images.images if image.digest not in (trained_on or ())]
        shared = [image for image in shared if image.label in earlier.manifest.labels]
        if not shared:
            raise RefusedModelError(
                f"the model is not published: {last.name} was trained on every held-out image of its classes, so "
                "the loss of accuracy can't be measured",
                hint=_UNCOMPARED,
            )
        before = evaluate(ArtifactModel(earlier.path), replace(images, images=tuple(shared)), progress)
    note = (
        ""
        if trained_on is not None
        else (f"; {last.name} may have been trained on some of them: its run is not beside this one")
    )
    return [*lines, check_replacement(pair(before, evaluation), last.name, settings, note=note)]


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

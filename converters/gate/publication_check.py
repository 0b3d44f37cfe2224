"""A new artifact > may it be published: the held-out images, the model that it replaces and the decision together."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from converters.evaluation.artifact_model import ArtifactModel
from converters.evaluation.labelled_images import LabelledImages, load_labelled_images
from converters.evaluation.metrics import evaluate
from converters.evaluation.paired_comparison import pair
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
"""Most images judged on: they show a loss of 1 point where 6 % of answers differ."""


def check_publication(
    path: Path, place: RunLocation, data: DataSettings, tag: str, settings: PipelineSettings, *, access: Access,
    progress: TrainingProgress,
) -> list[str]:  # fmt: skip
    """Judge a model by its artifact.

    Args:
        path: The artifact, beside those of before.
        place: Of its run.
        data: Where the run's images are.
        tag: Where it is to be published, as `eaves package` takes it.
        settings: What is asked of it.
        access: How the registry is reached.
        progress: Told of every image.

    Returns:
        What it passed by, a line each.

    Raises:
        RefusedModelError: It is not good enough, or not shown to be.
        EavesError: The images, the run or the registry can't be read.
    """
    artifact = open_artifact(path)
    if artifact.manifest.task != CLASSIFY:
        return [f"not judged: a model for the task {artifact.manifest.task} has no accuracy"]
    own, last = find_published(tag, artifact.manifest.version, access)
    for found in (own, last):
        if found is not None and found.artifact_digest == artifact.digest:
            return [f"{found.name} is this model: it was judged before it was published"]
    images = _held_out(place, data, progress)
    model = ArtifactModel(path)
    evaluation = evaluate(model, images, progress)
    lines = [check_floor(evaluation, settings)]
    if last is None or settings.max_accuracy_drop >= NEVER:
        return [*lines, "nothing was published here before" if last is None else "not compared: max_accuracy_drop"]
    with last.artifact(path.parent, place.cache / "published") as earlier:
        _check_handler(earlier, artifact, last)
        trained_on = _find_trained_on(place, earlier.manifest.version)
        shared = [image for image in images.images if image.digest not in (trained_on or ())]
        shared = [image for image in shared if image.label in earlier.manifest.labels]
        if not shared:
            raise RefusedModelError(
                f"the model is not published: {last.name} was trained on every held-out image of a class that it "
                "knows, so nothing shows what is lost",
                hint=_UNCOMPARED,
            )
        before = evaluate(ArtifactModel(earlier.path), replace(images, images=tuple(shared)), progress)
    note = "" if trained_on is not None else f"; {last.name} may have seen some of them: its run is not beside this one"
    return [*lines, check_replacement(pair(before, evaluation), last.name, settings, note=note)]


def _held_out(place: RunLocation, data: DataSettings, progress: TrainingProgress) -> LabelledImages:
    """The images that the run held out and that are still there, at most `AT_MOST` of them, chosen by digest.

    Raises:
        RunError: The run doesn't tell which they are.
        DatasetError: None is there.
    """
    split = open_run(place.local).split()
    if split is None:
        raise RunError(f"{place.local} does not tell which images it held out", hint="train it again")
    path, faults = find_local(data, cache=place.cache, progress=progress)
    found = load_labelled_images(path, {digest for digest, one in split.items() if one.split == "train"}, faults)
    left = sorted((image for image in found.images if image.digest in split), key=lambda image: image.digest)[:AT_MOST]
    if not left:
        raise DatasetError(f"none of the images that the run held out is in {path} any more", hint="train it again")
    return replace(found, images=tuple(left))


def _find_trained_on(place: RunLocation, version: str) -> frozenset[str] | None:
    """sha256 of what the model of a version was trained on, hex; None when its run is not beside this one."""
    for name in place.beside().folders():
        store = place.beside().at(name)
        with suppress(RunError, ValueError, KeyError, TypeError):  # something else, or a run of an earlier Eaves
            if store.exists(SPLIT_FILE) and json.loads(store.read(MANIFEST))["version"] == version:
                split = parse_split(store.read(SPLIT_FILE).decode(), store.uri)
                return frozenset(digest for digest, entry in split.items() if entry.split == "train")
    return None


def _check_handler(earlier: Artifact, artifact: Artifact, last: Published) -> None:
    """Raise unless the earlier model's handler.py, which would run here, is the new one's too.

    Raises:
        RefusedModelError: It is other code.
    """
    handler, known = (one.manifest.files.get(HANDLER) for one in (earlier, artifact))
    if handler is not None and (known is None or known.sha256 != handler.sha256):
        raise RefusedModelError(
            f"the model is not published: {last.name} has another {HANDLER}, which is not run here, so nothing shows "
            "what is lost",
            hint=_UNCOMPARED,
        )

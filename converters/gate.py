"""The gate: checks whether a new model is good enough, on held-out images and against the models before it.

A model is evaluated as it would be served, from its artifact, on images that its run held out and on the labelled
photos of the audit sample, which no model is trained on. Its accuracy is compared with a floor, and its answers with
those of earlier models. Too little evidence never counts as a pass. Which models these are is decided before a
publication by `converters.publication_check`, before a deployment on this machine by `converters.deployment_check`.
This module trains and publishes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from converters.evaluation.images import (
    LabelledImages,
    describe_left_out,
    find_trained_on,
    leave_out_copies,
    load_audit,
    load_labelled_images,
    with_groups,
)
from converters.evaluation.metrics import Evaluation, Pairing, evaluate, pair
from converters.evaluation.models import ArtifactModel
from converters.settings import NEVER, PipelineSettings
from eaves.artifact import Artifact
from eaves.artifact.manifest import ANOMALY, CLASSIFY, Manifest
from eaves.artifact.store import HANDLER
from eaves.base.statistics import images_needed, round_outward
from eaves.errors import (
    DatasetError,
    OciNotFoundError,
    RefusedModelError,
    UndecidedModelError,
)
from trainer.data.dataset import find_local
from trainer.data.drawn_defects import load_drawn
from trainer.data.splitting import find_trained, load_split
from trainer.progress import TrainingProgress
from trainer.run import ACCURACY
from trainer.run.model_quality import MIN_GROUPS, count_images, list_recalls
from trainer.run.run import open_run
from trainer.run.run_location import RunLocation
from trainer.settings import DataSettings


class EarlierModel(Protocol):
    """A model that the new one must not be worse than.

    Attributes:
        name: Name of the model for people.
        artifact_digest: sha256 of the artifact, hex.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - attributes are described above

    @property
    def artifact_digest(self) -> str: ...  # noqa: D102

    def artifact(self, work: Path) -> AbstractContextManager[Artifact]:
        """Open the artifact, which may be fetched below the folder `work`.

        Raises:
            OciNotFoundError: The model doesn't exist any more.
        """


_KEPT_HINT = "the run and its report are kept"


def check_floor(figure: Mapping[str, Any], settings: PipelineSettings) -> str:
    """Check that a model's figure reaches the floor, and that no class is below its own.

    Args:
        figure: The figure of the model on held-out images, as `trainer.run.metrics.summarize` gives it.
        settings: Settings with the floors.

    Returns:
        A line with the figures by which the model passed.

    Raises:
        RefusedModelError: The lower end of the interval does not reach the floor, or does not exceed the figure of
            always answering the most frequent class, or a class is shown to be right less often than its floor.
    """
    low, high = round_outward(figure["interval_95"], 3)
    what = count_images(figure["images"], figure["groups"], "held-out")
    figures = f"{figure['name']} {figure['value']:.3f} ({low:.3f} to {high:.3f} with 95 % confidence) on {what}"
    if figure["groups"] < MIN_GROUPS:
        raise RefusedModelError(
            f"the model is refused: {figures}; at least {MIN_GROUPS} images or groups of images are needed",
            hint=f"hold out more images; {_KEPT_HINT}",
        )
    if figure["interval_95"][0] < settings.floor:
        raise RefusedModelError(
            f"the model is refused: {figures}; the lower end of the interval must reach pipeline.floor "
            f"({settings.floor:g})",
            hint=f"add images, or lower pipeline.floor if this {figure['name']} is good enough; {_KEPT_HINT}",
        )
    if figure["interval_95"][0] <= figure["baseline"]:
        label = max(figure["classes"], key=lambda name: figure["classes"][name]["images"])
        raise RefusedModelError(
            f"the model is refused: {figures}; always answering {label!r} gives {figure['baseline']:.3f}, and "
            "the lower end of the interval must exceed that",
            hint=f"add images, or choose another architecture; {_KEPT_HINT}",
        )
    missed = [
        f"{item.name} ({item.right} of {item.images} right)"
        for item in list_recalls(figure)
        if item.upper_bound < settings.class_floor
    ]
    if missed:
        raise RefusedModelError(
            f"the model is refused: {figures}; with 95 % confidence, fewer than {settings.class_floor:.0%} of "
            f"the images of these classes are right: {', '.join(missed)}",
            hint=f"add images of these classes, or lower pipeline.class_floor (0 for no floor); {_KEPT_HINT}",
        )
    return figures


def check_replacement(pairing: Pairing, name: str, settings: PipelineSettings, *, note: str = "") -> str:
    """Check that a model's figure is not lower than that of an earlier model by more than allowed.

    Args:
        pairing: Pairing of the earlier model (first) with the new one (second), on images that neither was trained
            on as far as that is known. If the earlier model was trained on some of them, it only seems better, so that
            a pass remains valid.
        name: Name of the earlier model.
        settings: Settings with the allowed loss.
        note: Uncertainty about the images, which is added to the message of a refusal.

    Returns:
        A line with the figures by which the model passed.

    Raises:
        RefusedModelError: The images do not exclude that the new model loses more than the settings allow; an
            UndecidedModelError if it seems to lose no more, and isn't shown to be worse.
    """
    bound = 100 * pairing.bound_drop()
    at_most = round_outward((bound, bound), 1)[1]
    figures = (
        f"of {pairing.images} held-out images, the new model is right on {pairing.gained} that {name} answered "
        f"wrongly, and wrong on {pairing.lost} that {name} answered rightly: it loses at most {at_most:.1f} points "
        f"of {pairing.figure}, with 95 % confidence{_describe_losses(pairing)}"
    )
    allowed = settings.max_accuracy_drop
    if bound <= allowed:
        return f"{figures}; pipeline.max_accuracy_drop is {allowed:g}"
    is_undecided = -100 * pairing.difference <= allowed and pairing.interval[1] >= 0
    raise (UndecidedModelError if is_undecided else RefusedModelError)(
        f"the model is refused: {figures}, and pipeline.max_accuracy_drop allows {allowed:g}{note}",
        hint=f"{_build_hint(pairing, allowed)}, or raise pipeline.max_accuracy_drop (100 turns the comparison off); "
        f"{_KEPT_HINT}",
    )


def _describe_losses(pairing: Pairing) -> str:
    """Return the classes of which the new model answers fewer images rightly, as a part of a sentence; maybe empty."""
    lost = Counter(one.image.label for one in pairing.differing if one.first.label == one.image.label)
    gained = Counter(one.image.label for one in pairing.differing if one.second.label == one.image.label)
    worse = [f"{label} (right on {gained[label]} more, wrong on {lost[label]} more)" for label in sorted(lost - gained)]
    return f"; it loses on the class{'es' if worse[1:] else ''} {', '.join(worse)}" if worse else ""


def _build_hint(pairing: Pairing, allowed: float) -> str:
    """Return advice for a refused model: more held-out images, unless the measured loss itself is too large."""
    if -100 * pairing.difference > allowed or not allowed:
        return "look at the wrong answers in the report"
    if pairing.figure != ACCURACY:  # how many are needed depends on the classes and groups that they are of
        return "hold out more images of the rarest class"
    if len(set(pairing.judged.groups.tolist())) < pairing.images:
        return "hold out more images, of other groups"
    differing = (pairing.lost + pairing.gained) / pairing.images
    return (
        f"hold out about {images_needed(differing, allowed / 100)} images, which are enough to show whether "
        "the loss is allowed"
    )


_COMPARISON_HINT = "set pipeline.max_accuracy_drop to 100 for this training, to accept it without a comparison"


MAX_IMAGES = 5000
"""Maximum number of images that a model is evaluated on. That many images suffice to detect a loss of 1 percentage
point of accuracy if the models give different answers to 6 % of the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Result of the check of a model that is good enough.

    Attributes:
        lines: Lines with the figures by which the model passed.
        is_compared: Whether the model was compared with earlier ones.
        gone: Digests of the earlier artifacts that can't be fetched any more.
        exceeded: Digests of the earlier artifacts that the model is shown to be better than.
    """

    lines: tuple[str, ...]
    is_compared: bool = False
    gone: frozenset[str] = frozenset()
    exceeded: frozenset[str] = frozenset()


def check_model(
    artifact: Artifact, place: RunLocation, data: DataSettings, references: Sequence[EarlierModel],
    settings: PipelineSettings, *, progress: TrainingProgress,
) -> Judgement:  # fmt: skip
    """Check whether a model is good enough to be published or deployed, by its artifact.

    Args:
        artifact: The model.
        place: Location of its run.
        data: Settings that name the run's images.
        references: The earlier models that it must not be worse than, first the one that it would replace; the model
            itself is not compared.
        settings: Settings with the requirements.
        progress: Receives one step for each image.

    Raises:
        RefusedModelError: The model is not good enough, or the evidence doesn't suffice.
        EavesError: The images, the run or an earlier model can't be read.
    """
    if line := find_unchecked(artifact):
        return Judgement(lines=(line,))
    images = _held_out(place, data, artifact.manifest, progress)
    evaluation = evaluate(ArtifactModel(artifact.path), images, progress)
    lines = [*describe_left_out(images), check_floor(evaluation.measured["figure"], settings)]
    references = [one for one in references if one.artifact_digest != artifact.digest]
    if not references:
        return Judgement(lines=(*lines, "the model is not compared: there is no earlier model here"))
    if settings.max_accuracy_drop >= NEVER:
        line = "the model is not compared: pipeline.max_accuracy_drop turns the comparison off"
        return Judgement(lines=(*lines, line))
    gone, exceeded, undecided = set[str](), set[str](), list[UndecidedModelError]()
    for reference in references:
        try:
            with reference.artifact(place.cache / "published") as earlier:
                pairing, note = _compare(reference.name, earlier, artifact, evaluation, images, place, progress)
                if reference is references[0]:
                    lines.append(describe_update(reference.name, earlier.manifest, artifact.manifest))
        except OciNotFoundError as error:
            gone.add(reference.artifact_digest)
            lines.append(f"{reference.name} can't be fetched any more and is left out: {error.message}")
            continue
        try:
            lines.append(check_replacement(pairing, reference.name, settings, note=note))
        except UndecidedModelError as error:  # the others may show that the model is worse
            undecided.append(error)
        if pairing.interval[0] > 0:
            exceeded.add(reference.artifact_digest)
    if undecided:
        raise undecided[0]
    return Judgement(lines=tuple(lines), is_compared=True, gone=frozenset(gone), exceeded=frozenset(exceeded))


def describe_update(name: str, earlier: Manifest, new: Manifest) -> str:
    """Return a line with the bytes of the files that the new model has and an earlier one has not."""
    known = {entry.sha256 for entry in earlier.files.values()}
    files = {file: entry.size_bytes for file, entry in new.files.items() if entry.sha256 not in known}
    named = max(files, key=files.__getitem__, default="none")
    return f"an update from {name} ships {sum(files.values()):,} bytes in {len(files)} files; the largest is {named}"


def find_unchecked(artifact: Artifact) -> str:
    """Return a line that says why a model can't be checked; empty when it can."""
    task = artifact.manifest.task
    return (
        "" if task in (CLASSIFY, ANOMALY) else f"the model is not checked: a model of the task {task} has no accuracy"
    )


def _compare(
    name: str, earlier: Artifact, artifact: Artifact, evaluation: Evaluation, images: LabelledImages,
    place: RunLocation, progress: TrainingProgress,
) -> tuple[Pairing, str]:  # fmt: skip
    """Compare an earlier model with the new one, on images that the earlier one wasn't trained on.

    Returns:
        pairing: The comparison.
        note: Uncertainty about the images, for the message of a refusal; empty if there is none.

    Raises:
        RefusedModelError: The earlier model can't be evaluated on any image.
    """
    handler, known = (one.manifest.files.get(HANDLER) for one in (earlier, artifact))
    if handler is not None and (known is None or known.sha256 != handler.sha256):
        raise RefusedModelError(
            f"the model is refused: {name} has another {HANDLER}, which is not run here, so the loss "
            "of accuracy can't be measured",
            hint=_COMPARISON_HINT,
        )
    trained_on = find_trained_on(earlier.manifest.version, place.beside())
    shared = [image for image in images.images if image.digest not in (trained_on or ())]
    shared = [image for image in shared if image.label in earlier.manifest.labels]
    if not shared:
        raise RefusedModelError(
            f"the model is refused: {name} has none of the held-out images' classes, or was trained on "
            "all their images, so the loss of accuracy can't be measured",
            hint=_COMPARISON_HINT,
        )
    before = evaluate(ArtifactModel(earlier.path), replace(images, images=tuple(shared)), progress)
    note = f"; {name} may have been trained on some of them: its run is not beside this one"
    return pair(before, evaluation), note if trained_on is None else ""


def _held_out(place: RunLocation, data: DataSettings, manifest: Manifest, progress: TrainingProgress) -> LabelledImages:
    """Load the images that the run held out and that still exist, at most `MAX_IMAGES` of them, chosen by digest.

    The labelled photos of the audit sample are added, but not those of classes that the model doesn't know.

    A model of the task `anomaly`, which has a rule, is also judged by the drawn defects of its run. Copies of its
    training images, which a split that the data declare may hold out, are left out.

    Raises:
        RunError: The run is damaged.
        DatasetError: None of the images exists any more.
    """
    split = load_split(open_run(place.local).path)
    path, faults = find_local(data, cache=place.cache, progress=progress)
    trained_on = find_trained(split)
    good = manifest.anomaly.good if manifest.anomaly else ""
    found = with_groups(load_labelled_images(path, trained_on, faults, good=good, progress=progress), [split])
    left = sorted((image for image in found.images if image.digest in split), key=lambda image: image.digest)[
        :MAX_IMAGES
    ]
    if not left:
        raise DatasetError(f"none of the images that the run held out is still in {path}", hint="train the model again")
    left += load_drawn(place.local, split)
    known = [image for image in load_audit(path, good=good, progress=progress).images if image.label in manifest.labels]
    if audit := [image for image in known if image.digest not in trained_on]:
        found = replace(
            found, notes=(*found.notes, f"{len(audit)} labelled photos of the audit sample count as held out")
        )
    found = replace(found, images=(*left, *audit))
    if data.near_copies == "off":  # different parts look alike
        return found
    return leave_out_copies(found, trained_on, (), cache=place.cache, progress=progress)

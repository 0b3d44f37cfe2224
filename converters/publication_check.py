"""The gate: checks whether a new model is good enough, on held-out images and against the models before it.

A pipeline asks it before it publishes an artifact, and `eaves gate` before an artifact is deployed on this machine.

A model is evaluated as it would be served, from its artifact, on images that its run held out and on the labelled
photos of the audit sample, which no model is trained on. Its accuracy is compared
with a floor, and its answers with those of the models that were published before: the last, the best, and the one that
serves after a rollback. Too little evidence never counts as a pass. This module trains and publishes nothing.

Before a deployment on this machine, a model is compared with the one that serves and with the best one that has served
here; before it is published, with these:

- The last one. If the tag contains the model's version, it is the newest other version; versions sort by the time of
  the training. If the tag is the same for every model, it is the container image that the tag names at present.
- The best one so far, which the tag `best` names. A model becomes the best one when it is shown to be better than the
  best one before. So a chain of models that each lose less than is allowed ends: it is compared with its beginning.
- The one that serves again after `eaves rollback`, which the tag `serving` names. The model that was taken back is
  still the last one.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

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
from eaves.artifact import Artifact, open_artifact
from eaves.artifact.manifest import ANOMALY, CLASSIFY, Manifest
from eaves.artifact.store import HANDLER, gate_file
from eaves.base.files import write_atomically
from eaves.base.statistics import images_needed, round_outward
from eaves.dataset_folder import is_audit
from eaves.errors import (
    DatasetError,
    EavesError,
    OciError,
    OciNotFoundError,
    RefusedModelError,
    RunError,
    UndecidedModelError,
)
from eaves.labels import NOT_USABLE, LabelBook
from eaves.oci.copy import BEST, SERVING, VERSION, ImageLocation, name_role, open_location
from eaves.oci.descriptor import Descriptor
from eaves.oci.layout import create_layout
from eaves.oci.package import find_artifact, unpack_artifact
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from trainer.data.dataset import find_local
from trainer.data.drawn_defects import load_drawn
from trainer.data.splitting import find_trained, load_split
from trainer.labelling import check_new_labels
from trainer.progress import TrainingProgress
from trainer.run import ACCURACY
from trainer.run.model_quality import MIN_GROUPS, count_images
from trainer.run.run import open_run
from trainer.run.run_location import RunLocation
from trainer.settings import DataSettings

_VERSION = r"\d{8}-\d{6}-[0-9a-f]{8}"
"""Regular expression of a model's version, as `trainer.run.run` makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A container image in a registry and the artifact in it.

    Attributes:
        name: Name of the container image, with its tag.
        artifact_digest: sha256 of the artifact, hex.
        place: Location of the container image.
        descriptor: Descriptor of the container image.
    """

    name: str
    artifact_digest: str
    place: ImageLocation
    descriptor: Descriptor

    @contextmanager
    def artifact(self, work: Path) -> Iterator[Artifact]:
        """Fetch the artifact to a folder below `work`, which is removed at the end of the context.

        Raises:
            OciError: The artifact can't be fetched, or differs from what the container image says.
        """
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="published-", dir=work) as made:
            layout = create_layout(Path(made) / "layout")
            yield unpack_artifact(self.place.store, self.descriptor, layout, Path(made) / "artifact")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModels:
    """The models that are published at a location.

    Attributes:
        own: Model with the new model's own tag, if the tag contains the version; None otherwise.
        last: Model that was published last, except `own`; None when there is none.
        best: Best model so far; None when no tag names it.
        serving: Model that serves again after a rollback; None when no tag names it.
        lines: A line for each model that is left out because it can't be found.
    """

    own: Published | None = None
    last: Published | None = None
    best: Published | None = None
    serving: Published | None = None
    lines: tuple[str, ...] = ()


def find_published(tag: str, version: str, access: Access) -> PublishedModels:
    """Find the models that are published at a location.

    Args:
        tag: Name of a container image in a registry; its tag may contain `VERSION`.
        version: Version of the model that is to be published.
        access: Access to the registry.

    Raises:
        OciError: The registry can't be read.
    """
    own, last, lines = None, None, list[str]()
    if VERSION not in tag:
        last = find_model(tag, access)
    else:
        own = find_model(tag.replace(VERSION, version), access)
        place, known = open_location(tag.replace(VERSION, version), access), set[str]()
        if isinstance(place.store, Registry):
            pattern = re.compile(re.escape(tag.rpartition(":")[2]).replace(re.escape(VERSION), f"({_VERSION})"))
            known = {found[1] for one in place.store.tags() if (found := pattern.fullmatch(one))}
        for one in sorted(known - {version}, reverse=True):
            last = find_model(tag.replace(VERSION, one), access)
            if last is not None:
                break
            lines.append(f"{tag.replace(VERSION, one)} has no model (any more) and is left out")
    best, serving = (find_model(name_role(tag, role), access) for role in (BEST, SERVING))
    if last is not None and best is None:
        lines.append(f"{name_role(tag, BEST)} has no model (any more): the best model so far is not known")
    return PublishedModels(own=own, last=last, best=best, serving=serving, lines=tuple(lines))


def tag_roles(models: PublishedModels, tag: str, version: str, best: Published | None, access: Access) -> list[str]:
    """Tag the best model so far, after a model was published, and stop comparing with the one before it that served.

    Args:
        models: The models that were published before.
        tag: Name that the model was published to; it may contain `VERSION`.
        version: Version of the published model.
        best: Best model so far; None means the published one.
        access: Access to the registry.

    Returns:
        A line for each role that the registry doesn't let change.
    """
    lines = list[str]()
    for role, found in ((BEST, best), (SERVING, None)):
        if role == SERVING and models.serving is None:
            continue
        if role == BEST and best is not None and best is models.best:
            continue  # another pipeline may have tagged a better one since
        try:
            place = open_location(name_role(tag, role), access)
            new = open_location(tag.replace(VERSION, version), access)
            place.tag(new.resolve() if found is None else found.descriptor)
        except OciError as error:
            lines.append(f"{name_role(tag, role)} was not changed, so the next model is compared as before: {error}")
    return lines


def find_model(name: str, access: Access) -> Published | None:
    """Return the model in the container image of this name; None when there is no such image or no artifact in it."""
    place = open_location(name, access)
    try:
        descriptor = place.resolve()
        artifact = find_artifact(place.store, descriptor)
    except OciNotFoundError:
        return None
    digest = artifact.removeprefix("sha256:")
    return Published(name=name, artifact_digest=digest, place=place, descriptor=descriptor) if digest else None


_KEPT_HINT = "the run and its report are kept"


def check_floor(evaluation: Evaluation, settings: PipelineSettings) -> str:
    """Check that a model's figure reaches the floor, and that no class is below its own.

    Args:
        evaluation: Evaluation of the model's artifact on images that its run held out.
        settings: Settings with the floors.

    Returns:
        A line with the figures by which the model passed.

    Raises:
        RefusedModelError: The lower end of the interval does not reach the floor, or does not exceed the figure of
            always answering the most frequent class, or a class is shown to be right less often than its floor.
    """
    figure = evaluation.measured["figure"]
    low, high = round_outward(evaluation.interval, 3)
    what = count_images(figure["images"], figure["groups"], "held-out")
    figures = f"{figure['name']} {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f} with 95 % confidence) on {what}"
    if figure["groups"] < MIN_GROUPS:
        raise RefusedModelError(
            f"the model is refused: {figures}; at least {MIN_GROUPS} images or groups of images are needed",
            hint=f"hold out more images; {_KEPT_HINT}",
        )
    if evaluation.interval[0] < settings.floor:
        raise RefusedModelError(
            f"the model is refused: {figures}; the lower end of the interval must reach pipeline.floor "
            f"({settings.floor:g})",
            hint=f"add images, or lower pipeline.floor if this {figure['name']} is good enough; {_KEPT_HINT}",
        )
    if evaluation.interval[0] <= figure["baseline"]:
        label = Counter(image.label for image in evaluation.images).most_common(1)[0][0]
        raise RefusedModelError(
            f"the model is refused: {figures}; always answering {label!r} gives {figure['baseline']:.3f}, and "
            "the lower end of the interval must exceed that",
            hint=f"add images, or choose another architecture; {_KEPT_HINT}",
        )
    missed = [
        f"{item.name} ({item.right} of {item.images} right)"
        for item in evaluation.quality.weak_classes
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
        pairing: Comparison of the earlier model (first) with the new one (second), on images that neither was trained
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
class DeployedModel:
    """A model that is deployed on this machine.

    Attributes:
        name: Name of the model for people.
        artifact_digest: sha256 of the artifact, hex.
        path: Directory of the artifact.
    """

    name: str
    artifact_digest: str
    path: Path

    def artifact(self, work: Path) -> AbstractContextManager[Artifact]:
        """Open the artifact.

        Raises:
            OciNotFoundError: The directory doesn't exist any more.
        """
        if not self.path.is_dir():
            raise OciNotFoundError(f"there is no {self.path}")
        return nullcontext(open_artifact(self.path))


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
    artifact: Artifact, place: RunLocation, data: DataSettings, references: Sequence[Published | DeployedModel],
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
    if line := _find_unchecked(artifact):
        return Judgement(lines=(line,))
    images = _held_out(place, data, artifact.manifest, progress)
    evaluation = evaluate(ArtifactModel(artifact.path), images, progress)
    lines = [*describe_left_out(images), check_floor(evaluation, settings)]
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


def _find_unchecked(artifact: Artifact) -> str:
    """Return a line that says why a model can't be checked; empty when it can."""
    task = artifact.manifest.task
    return (
        "" if task in (CLASSIFY, ANOMALY) else f"the model is not checked: a model of the task {task} has no accuracy"
    )


def check_deployment(
    artifact: Artifact, place: RunLocation, data: DataSettings, function: str,
    deployed: Sequence[DeployedModel], settings: PipelineSettings, *, review: Path | None = None,
    progress: TrainingProgress,
) -> Judgement:  # fmt: skip
    """Check whether a model is good enough to be deployed, and store the answer beside its artifact.

    Args:
        artifact: The model.
        place: Location of its run.
        data: Settings that name the run's images.
        function: Name of the function that would serve it.
        deployed: The model that the function serves, if it serves one.
        settings: Settings with the requirements.
        review: File with a review of the labels; None: the labels are not checked.
        progress: Receives one step for each image.

    Raises:
        RefusedModelError: The model is not good enough, or the evidence doesn't suffice; this answer is stored, too.
        EavesError: The images, the run or the deployed model can't be read.
    """
    if open_run(place.local).version != artifact.manifest.version:
        raise RunError(f"{place.local} is not the run of {artifact.path}", hint="eaves convert")

    def store(lines: Sequence[str], *, exceeds: Collection[str] = (), **answer: bool) -> None:
        replaces = [one.artifact_digest for one in deployed]
        known = {"function": function, "artifact": artifact.digest, "replaces": replaces, "exceeds": sorted(exceeds)}
        for found in _read_values(review, "created") if review else ():
            known["reviewed"] = found["created"]
        write_atomically(gate_file(artifact.path), json.dumps({**answer, "lines": lines, **known}), mode=None)

    best = find_best(artifact.path.parent, deployed)
    serving = {one.artifact_digest for one in deployed}
    references = [*deployed, *(one for one in best if one.artifact_digest not in serving)]
    try:
        line = _check_labels(review, Path(data.path), deployed) if review and deployed else ""
        answer = check_model(artifact, place, data, references, settings, progress=progress)
    except RefusedModelError as error:
        lines = [error.message, *filter(None, [error.hint])]
        store(lines, passed=False, lacks=isinstance(error, UndecidedModelError))
        raise
    answer = replace(answer, lines=(*filter(None, [line]), *answer.lines))
    store(
        answer.lines,
        passed=True,
        exceeds=answer.exceeded if answer.is_compared else [one.artifact_digest for one in references],
    )
    return answer


def _check_labels(review: Path, folder: Path, deployed: Sequence[DeployedModel]) -> str:
    """Check the labels given since those of the model that serves were read; the line is empty where that isn't known.

    That is when its own gate's review was made. A model without one was trained at the time that its version names.
    """
    try:
        version = open_artifact(deployed[0].path).manifest.version
        since = datetime.strptime(version[:15], "%Y%m%d-%H%M%S").isoformat()  # noqa: DTZ007 - UTC, as in labels
        found, photos = json.loads(review.read_bytes()), LabelBook(folder).photos()
    except (EavesError, OSError, ValueError):
        return ""
    labels = [one for one in photos if one.label not in ("", NOT_USABLE) and not is_audit(one.file)]
    for known in _read_values(gate_file(deployed[0].path), "reviewed"):  # a training may take hours
        since = known["reviewed"]
    return check_new_labels(found, labels, since)


BEST_FILE = "best.json"
"""File beside the artifacts that names the best model that has served on this machine."""


def find_best(artifacts: Path, deployed: Sequence[DeployedModel]) -> list[DeployedModel]:
    """Return the best model that has served on this machine so far; empty before one has.

    A model becomes the best one when it serves, and the gate has shown that it is better than the best one before. So a
    chain of models that each lose less than is allowed ends here as it does in a registry.

    Args:
        artifacts: Folder of the artifacts.
        deployed: The model that serves, if one does.
    """
    best = [
        DeployedModel(name="the best model so far", artifact_digest=values["artifact"], path=Path(values["path"]))
        for values in _read_values(artifacts / BEST_FILE, "artifact", "path")
        if Path(values["path"]).is_dir()  # else the one that serves is the best that is left
    ]
    for one in deployed:
        exceeded = [digest for found in _read_values(gate_file(one.path), "exceeds") for digest in found["exceeds"]]
        if not best or best[0].artifact_digest in exceeded:
            best = [replace(one, name="the best model so far")]
            known = {"artifact": one.artifact_digest, "path": str(one.path.absolute())}
            write_atomically(artifacts / BEST_FILE, json.dumps(known), mode=None)
    return best


def _read_values(path: Path, *names: str) -> list[dict[str, Any]]:
    """Return the object in a JSON file, if it can be read and has these members; else an empty list."""
    with suppress(OSError, ValueError):
        values = json.loads(path.read_bytes())
        if isinstance(values, dict) and set(names) <= values.keys():
            return [values]
    return []


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
    published: PublishedModels = field(default_factory=PublishedModels)
    best: Published | None = None
    again: bool = False


def check_publication(
    path: Path, place: RunLocation, data: DataSettings, tag: str, settings: PipelineSettings, *, access: Access,
    progress: TrainingProgress,
) -> Passed:  # fmt: skip
    """Check whether a model may be published, by its artifact.

    Args:
        path: Directory of the artifact.
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
    if line := _find_unchecked(artifact):
        return Passed(lines=(line,), again=True)
    models = find_published(tag, artifact.manifest.version, access)
    for found in (models.own, models.last):
        if found is not None and found.artifact_digest == artifact.digest:
            line = f"{found.name} is this model; it was checked before it was published"
            return Passed(lines=(line,), again=True)
    # Each once, the last model first.
    given = {found.artifact_digest: found for found in (models.serving, models.best, models.last) if found is not None}
    answer = check_model(artifact, place, data, list(given.values())[::-1], settings, progress=progress)
    lines = (*models.lines, *answer.lines)
    if not answer.is_compared:
        return Passed(lines=lines, published=models)
    candidates = (found for found in (models.best, models.last) if found and found.artifact_digest not in answer.gone)
    best = next(candidates, None)
    if best is None or best.artifact_digest in answer.exceeded:
        best, lines = None, (*lines, "the model is the best one so far, with which the next ones are compared")
    return Passed(lines=lines, published=models, best=best)


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
    left += audit
    return leave_out_copies(replace(found, images=tuple(left)), trained_on, (), cache=place.cache, progress=progress)

"""Makes one artifact of the sums of many sites: the merged head, the sites' judgements of it, the gate, the artifact.

All of it is read from the folder of a receiver, which `trainer.federation.merging` describes. Each step may be
repeated, also after a kill: the same files give the same head and the same artifact. A site that is offline is late:
the gate decides as soon as the judgements of the others are enough evidence.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from converters.declaration import Interface
from converters.evaluation.metrics import Pairing
from converters.gate import MAX_IMAGES, check_floor, check_replacement
from converters.model_source import MAX_WATCHED, ModelSource
from converters.onnx.graph import BACKBONE, WEIGHTS, find_features
from converters.onnx.head import replace_head
from converters.proof import Answers, prove_parity
from converters.settings import NEVER, PipelineSettings
from converters.staging import open_staging, write_goldens
from eaves.artifact import Artifact, DecisionRule, LabelScores, check, load_golden, open_artifact, write_artifact
from eaves.artifact.manifest import MAX_EDGES, MAX_ODDS, OUTPUTS
from eaves.artifact.store import LABELS, MODEL, file_entries
from eaves.base.files import remove_durably, write_atomically
from eaves.base.locks import locked
from eaves.errors import ArtifactError, RefusedModelError, RunError, UndecidedModelError
from eaves.federation_events import FOLDER, HEAD, name_head
from eaves.inference.session import Session, open_session
from trainer.calibration import MIN_GROUPS as MIN_FITTED_GROUPS
from trainer.calibration import prior_correction, softmax
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import ODDS_EDGES, TEMPERATURES, HeadJudgement
from trainer.federation.merging import JUDGEMENTS, Merging, load_forgotten, merge_sites, newest_by_site, read_file
from trainer.grouped_statistics import JudgedImages, measure_inflation
from trainer.run import ACCURACY, MEAN_RECALL
from trainer.run.metrics import summarize
from trainer.run.model_quality import MIN_GROUPS, count_images
from trainer.run.run import ParitySample

MAX_JUDGED = 100_000
"""Maximum number of images in a judgement; a site that says more can't have looked at them."""
TOLERANCE = 1e-3
"""Maximum difference of a logit or a probability between the graph and the head in 64-bit floats; 1e-5 is usual."""
_BACKBONE, _VERSION = f"{WEIGHTS}/{BACKBONE}", f"{'?' * 8}-{'?' * 6}-{'?' * 8}"
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedModel:
    """What the sites' files give at present.

    Attributes:
        sites: Number of images in the sums of each site that are used.
        judged: Sites that have judged the head.
        head: Digest of the merged head; empty while there are too few images for one.
        artifact: The artifact; None while the evidence doesn't suffice.
        exceeded: Digest of the artifact that serves at all sites that judged, if the new one is shown to be better;
            else empty.
    """

    sites: Mapping[str, int]
    judged: tuple[str, ...] = ()
    head: str = ""
    artifact: Artifact | None = None
    exceeded: str = ""


def collect(
    folder: Path,
    base: Artifact,
    output: Path,
    settings: PipelineSettings,
    *,
    renames: Mapping[str, str],
    without: Collection[str] = (),
    say: Say,
) -> CollectedModel:
    """Merge what sites have sent, and make an artifact when their judgements suffice.

    Args:
        folder: Folder of the receiver.
        base: Artifact with whose backbone the sums were made.
        output: Folder of artifacts, which gets one with the name of its version.
        settings: Requirements of the gate.
        renames: Name of a class at sites to the one that it counts as.
        without: Classes of the base that the artifact may lack.
        say: Receives what a person should know, a line at a time.

    Raises:
        RefusedModelError: The merged head is not good enough.
        EavesError: The base can't be used, or the folder can't be read.
    """
    name = base.manifest.name
    if not name_head(name):
        raise RunError(f"{name!r} can't be the name of a model of many sites", hint="train it with another --name")
    place, features = folder / FOLDER / name, ArtifactFeatures(base)
    if not place.is_dir():  # one that this user makes may not be the receiver's to write to
        say(f"waiting: no site has sent anything to {place}")
        return CollectedModel(sites={})
    with locked(place.parent, folder=True):  # no site is forgotten meanwhile
        made = _find_made(base, output)
        labels = tuple(dict.fromkeys(label for artifact in (base, *made) for label in artifact.manifest.labels))
        merging = merge_sites(place, features.origin, features.golden.shape[1], labels, renames)
        for line in merging.lines:
            say(line)
        for label in merging.missing:
            say(f"no site has images of the class {label!r}: the new model will not know it")
        head, file = merging.head, place / HEAD
        if head is None:
            remove_durably(file)  # its sites may have been forgotten
            say("waiting: there are no images of two classes yet")
            return CollectedModel(sites=merging.sites)
        content = head.to_bytes()
        rounded = MergedHead.from_bytes(content, HEAD)  # sites judge what they load, whose numbers are float32
        if not file.is_file() or file.read_bytes() != content:
            write_atomically(file, content, mode=None)
        return _make(rounded, merging, place, features, output, settings, without, say)


def _find_made(base: Artifact, output: Path) -> list[Artifact]:
    """Return the newest artifact that was made of this base before; its further classes are known, too."""
    for path in sorted(output.glob(_VERSION), reverse=True):
        with suppress(ArtifactError):  # a folder of something else
            artifact = open_artifact(path)
            if artifact.manifest.files.get(_BACKBONE) == base.manifest.files[_BACKBONE]:
                return [artifact]
    return []


def _make(
    head: MergedHead, merging: Merging, place: Path, base: ArtifactFeatures, output: Path, settings: PipelineSettings,
    without: Collection[str], say: Say,
) -> CollectedModel:  # fmt: skip
    found = load_judgements(place, head, say)
    lacking = sorted(merging.sites.keys() - found.keys())
    late = f"; not yet by {', '.join(lacking)}" if lacking else ""
    sites = "1 site" if head.sites == 1 else f"{head.sites} sites"
    known = f"the head {head.digest[:12]} of {count_images(head.images, head.images)} at {sites}"
    say(f"{known} is judged by {', '.join(found) or 'no site'}{late}")
    made = CollectedModel(sites=merging.sites, judged=tuple(found), head=head.digest)
    for target in output.glob(f"{'?' * 15}-{head.digest[:8]}"):
        if (artifact := open_artifact(target)).manifest.source.digest == head.digest:
            return replace(made, artifact=artifact)
    lost = [label for label in merging.missing if label not in without]
    try:
        judgement, pairing = _check(head, found, lost, lacking, settings, say)
    except UndecidedModelError as error:
        say(f"waiting: {error.message}")
        return made
    except RefusedModelError as error:
        hint = "add images at the sites, correct their labels, or lower the requirement; the head is kept"
        raise RefusedModelError(error.message, hint=hint) from error
    is_better = bool(judgement.serving) and pairing.interval[0] > 0
    temperature, target = (
        fit_temperature(judgement),
        output / _name_version(head, merging.time_ms, base.artifact, output),
    )
    scores = summarize_odds(judgement, temperature)
    artifact = build_artifact(base, head, target, temperature, label_scores=scores)
    return replace(made, artifact=artifact, exceeded=judgement.serving if is_better else "")


def load_judgements(place: Path, head: MergedHead, say: Say) -> dict[str, HeadJudgement]:
    """Return the newest judgement of each site that is of this head, in order of the sites' names."""
    files, found = newest_by_site(place / JUDGEMENTS, load_forgotten(place.parent)), {}
    for site, path in files.items():
        try:
            judgement = HeadJudgement.from_json(read_file(path), path.name)
            if judgement.head != head.digest:
                continue
            if judgement.labels != head.labels or judgement.totals[0] > MAX_JUDGED:
                raise RunError(f"{path.name} is no judgement of the head that it names")
            found[site] = judgement
        except RunError as error:
            say(f"the judgement of {site} is left out: {error.message}")
    return found


def _check(
    head: MergedHead, found: Mapping[str, HeadJudgement], lost: Sequence[str], lacking: Sequence[str],
    settings: PipelineSettings, say: Say,
) -> tuple[HeadJudgement, Pairing]:  # fmt: skip
    """Check whether a head is good enough, by the sites' judgements of it.

    Args:
        head: The head.
        found: HeadJudgement of each site that has judged it.
        lost: Classes that the head doesn't know, and that the model must.
        lacking: Sites whose images are in the head, and that have not judged it yet.
        settings: Requirements; without a floor for classes, none needs a held-out image.
        say: Receives the figures by which it passes.

    Returns:
        judgement: That of all sites together.
        pairing: Difference of the head from what serves at the sites.

    Raises:
        RefusedModelError: It isn't; an UndecidedModelError when that may be for lack of evidence.
    """
    if lost:
        raise UndecidedModelError(f"the new model would not know {', '.join(map(repr, lost))}; a site may be late")
    judgement = reduce(HeadJudgement.merge, found.values()) if found else None
    if judgement is None or judgement.groups < MIN_GROUPS:
        raise UndecidedModelError(f"at least {MIN_GROUPS} held-out images or groups of images are needed")
    figure, pairing = measure(judgement, is_balanced=bool(head.label_weights)), compare_with_serving(judgement)
    if unmeasured := [label for label in head.labels if label not in figure["classes"]]:
        line = f"nothing is known about {', '.join(unmeasured)}, of which no site that judged holds out an image"
        if lacking and (settings.class_floor or len(figure["classes"]) < 2):
            raise UndecidedModelError(line)
        say(line)
    say(check_floor(figure, settings))
    if judgement.unknown:
        say(f"{count_images(judgement.unknown, judgement.unknown, 'held-out')} of other classes don't count")
    if settings.max_accuracy_drop >= NEVER:
        say("the model is not compared: pipeline.max_accuracy_drop turns the comparison off")
    else:
        say(check_replacement(pairing, "the model that serves at the site", settings))
    return judgement, pairing


def measure(judgement: HeadJudgement, *, is_balanced: bool) -> dict[str, Any]:
    """Return the figure that the head is judged by, as `trainer.run.metrics.summarize` does.

    How many images are in a group isn't known for each class, so those of a class are worth as many independent ones as
    all images are on average.

    Args:
        judgement: The sites' judgement.
        is_balanced: Whether the figure is the mean recall, because classes count alike, and not the accuracy.
    """
    truth, answers = (
        np.repeat(numbers, judgement.confusion.ravel())
        for numbers in np.indices(judgement.confusion.shape).reshape(2, -1)
    )
    found = summarize(
        truth, answers, judgement.labels, is_balanced=is_balanced, inflation=_measure_inflation(judgement, 0, 1, 0, 0)
    )
    return {**found["figure"], "groups": judgement.groups}


def compare_with_serving(judgement: HeadJudgement) -> Pairing:
    """Return the difference of the head from the models that serve at the sites."""
    images, _, gained, lost = judgement.totals.astype(np.int64)
    numbers = np.arange(images)
    return Pairing(
        judged=JudgedImages(numbers),
        first=numbers >= gained,  # which of the other images both are right about doesn't matter
        second=(numbers < gained) | (numbers >= gained + lost),
        inflation=_measure_inflation(judgement, 0, 0, -1, 1),
    )


def _measure_inflation(judgement: HeadJudgement, *signs: float) -> float:
    """Return the number of images that one independent image is worth; more than `MAX_IMAGES` never count."""
    found = measure_inflation(judgement.groups, judgement.totals, judgement.moments, signs)
    return max(found, float(judgement.totals[0]) / MAX_IMAGES)


def fit_temperature(judgement: HeadJudgement) -> float:
    """Return the temperature at which the true classes are most likely; 1 with too few groups, or without a mistake."""
    images, right = judgement.totals[:2]
    if judgement.groups < MIN_FITTED_GROUPS or right == images:
        return 1.0
    return float(TEMPERATURES[int(judgement.losses.argmin())])


def summarize_odds(judgement: HeadJudgement, temperature: float) -> tuple[LabelScores, ...]:
    """Return where the scores of held-out images lie, for each label that the head gives them.

    The odds at the temperature follow from those at 1, exactly for two classes; heads are scaled so that it is near 1.
    """
    if len(judgement.labels) > MAX_WATCHED:
        return ()
    bounds, found = np.concatenate([[-MAX_ODDS], ODDS_EDGES, [MAX_ODDS]]), []
    for counts in judgement.odds:
        images = int(counts.sum())
        number = min(images, MAX_EDGES)
        ranks = np.arange(1, number + 1) / (number + 1) * images
        edges = np.interp(ranks, np.cumsum([0, *counts]), bounds) / temperature
        groups = round(images * judgement.groups / float(judgement.totals[0]))
        edges = np.clip(edges, -MAX_ODDS, MAX_ODDS).round(3)
        found.append(LabelScores(edges=tuple(edges.tolist()), groups=max(groups, min(images, 1))))
    return tuple(found)


def build_artifact(
    base: ArtifactFeatures, head: MergedHead, target: Path, temperature: float, **further: Any
) -> Artifact:
    """Make an artifact of the base with another head.

    The golden images stay, and their expected answers are those of the head in 64-bit floats for the features that the
    graph computes; the graph must give the same ones.

    Args:
        base: Artifact with the backbone, and its features.
        head: The head.
        target: Directory of the artifact; its name is the version.
        temperature: Divisor of the logits before they become probabilities.
        further: Further fields of the manifest.

    Raises:
        ConversionError: The head of the base can't be replaced; a ParityError if the graph gives other answers.
    """
    artifact, known, cases = base.artifact, base.artifact.manifest, load_golden(base.artifact)
    files, decision = [artifact.path / one.file for one in cases], DecisionRule(label_weights=head.label_weights)
    samples = [
        ParitySample(path=path, label=one.label, sha256=known.files[one.file].sha256)
        for path, one in zip(files, cases, strict=True)
    ]
    figure = MEAN_RECALL if head.label_weights else ACCURACY
    source = ModelSource(
        route="run", model=artifact.path, name=known.name, version=target.name, labels=head.labels,
        recipe=known.image_recipe, interface=Interface(), digest=head.digest, temperature=temperature,
        decision=decision,
    )  # fmt: skip
    with open_staging(target) as (staging, _):
        replace_head(artifact, staging, head.head, temperature=temperature, label_weights=head.label_weights)
        logits = head.head(base.golden.astype(np.float64))
        scores = softmax(logits, temperature, prior_correction(head.label_weights))
        truth = Answers(
            outputs=tuple(dict(zip(OUTPUTS, both, strict=True)) for both in zip(logits, scores, strict=True)),
            tensor_sha256=tuple(one.tensor_sha256 for one in cases),
        )
        session = Session(staging / MODEL, optimise=known.optimise_on_open)
        parity = prove_parity(session, source, files, truth, TOLERANCE)
        write_goldens(staging, samples, samples, truth)
        (staging / LABELS).write_text("".join(f"{label}\n" for label in head.labels), encoding="utf-8")
        for name in known.files.keys() - file_entries(staging).keys():  # licences
            shutil.copyfile(artifact.path / name, staging / name)
        made = replace(
            known,
            version=target.name,
            labels=head.labels,
            outputs=tuple(replace(one, shape=(*one.shape[:-1], len(head.labels))) for one in known.outputs),
            parity=parity,
            files=file_entries(staging),
            temperature=temperature,
            decision=decision,
            source=replace(known.source, digest=head.digest, figure=figure),
            features=find_features(staging / MODEL),
            **{"label_scores": (), **further},
        )
        staged = Artifact(path=staging, manifest=made, digest=made.digest())
        check(staged, open_session(staged).attempt)
        return write_artifact(staging, target, made)


def _name_version(head: MergedHead, time_ms: int, base: Artifact, output: Path) -> str:
    """Return the version of a head: its digest, and the time of its newest sums, but after all earlier versions."""
    form, made = "%Y%m%d-%H%M%S", datetime.fromtimestamp(time_ms // 1000, UTC)
    for name in (base.manifest.version, *(path.name for path in output.glob(_VERSION))):
        with suppress(ValueError):  # the name of another folder
            made = max(made, datetime.strptime(name[:15], form).replace(tzinfo=UTC) + timedelta(seconds=1))
    return f"{made.strftime(form)}-{head.digest[:8]}"

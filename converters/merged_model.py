"""What sites' judgements show of a merged head, and the artifact of the base with this head."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.declaration import Interface
from converters.evaluation.metrics import Pairing
from converters.model_source import MAX_WATCHED, ModelSource, summarize_odds
from converters.onnx.graph import find_features
from converters.onnx.head import replace_head
from converters.proof import Answers, prove_parity
from converters.staging import open_staging
from eaves.artifact import AnomalyRule, Artifact, DecisionRule, LabelScores, check, load_golden, write_artifact
from eaves.artifact.golden import GOLDEN, INDEX, write_index
from eaves.artifact.manifest import LOGITS, MAP, MAX_ODDS, PROBABILITIES, Manifest
from eaves.artifact.store import LABELS, MODEL, file_entries
from eaves.errors import RefusedModelError, UndecidedModelError
from eaves.federation_events import HEAD
from eaves.inference.json_values import numbers
from eaves.inference.session import Session, open_session
from trainer.calibration import MIN_GROUPS as MIN_FITTED_GROUPS
from trainer.calibration import prior_correction, softmax
from trainer.federation.artifact_features import ArtifactFeatures
from trainer.federation.head_file import MergedHead
from trainer.federation.judgement import (
    ODDS_EDGES,
    SCORE_EDGES,
    TEMPERATURES,
    AnomalyJudgement,
    HeadJudgement,
)
from trainer.grouped_statistics import JudgedImages
from trainer.model.anomaly import SURE, FittedAnomaly, Gaussian, set_threshold
from trainer.model.feature_sums import Features
from trainer.run import ACCURACY, MEAN_RECALL
from trainer.run.metrics import summarize
from trainer.run.model_quality import MIN_GROUPS

TOLERANCE = 1e-3
"""Maximum difference of a logit or a probability between the graph and the head in 64-bit floats; 1e-5 is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedHead:
    """A merged head as its sites' judgements show it.

    Attributes:
        labels: Names of the classes.
        figure: Figure that it is judged by, as `trainer.run.metrics.summarize` gives it.
        pairing: Difference from what serves at the sites.
        serving: Digest of the artifact that serves at all sites that judged; empty if there are several.
        build: Function from the directory of an artifact to the artifact with this head.
        unknown: Number of held-out images of further classes.
        rule: Rule of a model that finds anomalies; None for classes.
    """

    labels: Sequence[str]
    figure: Mapping[str, Any]
    pairing: Pairing
    serving: str
    build: Callable[[Path], Artifact]
    unknown: int = 0
    rule: AnomalyRule | None = None

    @property
    def unmeasured(self) -> list[str]:
        """Classes of which no site that judged holds out an image."""
        return [label for label in self.labels if label not in self.figure["classes"]]


def weigh_head(base: ArtifactFeatures, content: bytes, judgements: Sequence[HeadJudgement]) -> JudgedHead:
    """Return what judgements show of a head of classes.

    Args:
        base: Artifact with the backbone, and its features.
        content: Content of the head's file.
        judgements: The sites' judgements of it.

    Raises:
        UndecidedModelError: They are of too few images.
    """
    # Sites judge what they load, whose numbers are float32.
    head = MergedHead.from_bytes(content, HEAD)
    judgement = reduce(HeadJudgement.merge, judgements)
    if judgement.confusion[:-1].sum() < MIN_GROUPS:
        raise UndecidedModelError(f"at least {MIN_GROUPS} held-out images or groups of images are needed")
    temperature = fit_temperature(judgement)
    scores = summarize_judged_odds(judgement, temperature)
    return JudgedHead(
        labels=head.labels,
        figure=measure(judgement, is_balanced=bool(head.label_weights)),
        pairing=compare_with_serving(judgement),
        serving=judgement.serving,
        build=partial(build_head, base, head, temperature=temperature, scores=scores),
        unknown=int(judgement.confusion[-1].sum()),
    )


def weigh_anomalies(
    base: ArtifactFeatures,
    content: bytes,
    judgements: Sequence[AnomalyJudgement],
    *,
    rule: AnomalyRule,
    false_alarms: float,
) -> JudgedHead:
    """Return what judgements show of merged sums of good images.

    The threshold is the lowest that promises the wanted share of false alarms. Groups of images count.
    Scores are known by their bins: a good image has the highest score of its bin, an anomalous one the lowest.

    Args:
        base: Artifact with the backbone, and its features.
        content: Content of the file of the sums.
        judgements: The sites' judgements of them.
        rule: Rule of the base.
        false_alarms: Largest share of good images that may raise an alarm.

    Raises:
        UndecidedModelError: There are too few good images for the promise.
        RefusedModelError: The scores of good images are below or above all edges of bins.
    """
    judgement = reduce(AnomalyJudgement.merge, judgements)
    good = judgement.groups[0].sum(axis=0)
    needed, count = math.ceil(math.log(1 - SURE) / math.log(1 - false_alarms)), int(good.sum())
    if count < needed:
        raise UndecidedModelError(
            f"{needed} held-out images of good parts, or groups of them, are needed for a threshold that promises at "
            f"most {false_alarms:.1%} false alarms; the sites that judged have {count}"
        )
    rule = set_threshold(
        np.repeat(SCORE_EDGES, good), [str(number) for number in range(count)],
        false_alarms=false_alarms, unseen=True, good=rule.good, method=rule.method,
    )  # fmt: skip
    if not SCORE_EDGES[1] <= rule.threshold < SCORE_EDGES[-1]:
        raise RefusedModelError(
            f"the merged sums give good images scores around {rule.threshold:.3g}, as no features do: the sums of a "
            "site are wrong"
        )
    alarms = np.stack([SCORE_EDGES, np.concatenate([[0.0], SCORE_EDGES[:-1]])]) > rule.threshold
    truth, before, bins = (
        np.repeat(numbers, judgement.groups.ravel()) for numbers in np.indices(judgement.groups.shape).reshape(3, -1)
    )
    answers = alarms[truth, bins].astype(np.int64)
    scorer, digest = base.fit(base.parse_sums(content, HEAD)), hashlib.sha256(content).hexdigest()
    return JudgedHead(
        labels=base.labels,
        figure=summarize(truth, answers, base.labels, is_balanced=True)["figure"],
        pairing=Pairing(
            judged=JudgedImages(np.arange(len(truth)), truth),
            first=before == truth,
            second=answers == truth,
            figure=MEAN_RECALL,
        ),
        serving=judgement.serving,
        build=partial(build_scorer, base, scorer, rule, digest),
        rule=rule,
    )


def measure(judgement: HeadJudgement, *, is_balanced: bool) -> dict[str, Any]:
    """Return the figure that the head is judged by, as `trainer.run.metrics.summarize` does.

    Args:
        judgement: The sites' judgement.
        is_balanced: Whether the figure is the mean recall, because classes count alike, and not the accuracy.
    """
    confusion = judgement.confusion[:-1]
    truth, answers = (np.repeat(numbers, confusion.ravel()) for numbers in np.indices(confusion.shape).reshape(2, -1))
    figure: dict[str, Any] = summarize(truth, answers, judgement.labels, is_balanced=is_balanced)["figure"]
    return figure


def compare_with_serving(judgement: HeadJudgement) -> Pairing:
    """Return the difference of the head from the models that serve at the sites."""
    numbers, (gained, lost) = np.arange(judgement.confusion[:-1].sum()), judgement.compared
    return Pairing(
        judged=JudgedImages(numbers),
        first=numbers >= gained,  # which of the other images both are right about doesn't matter
        second=(numbers < gained) | (numbers >= gained + lost),
    )


def fit_temperature(judgement: HeadJudgement) -> float:
    """Return the temperature at which the true classes are most likely; 1 with too few images, or without a mistake."""
    images, right = judgement.confusion[:-1].sum(), judgement.confusion.trace()
    if images < MIN_FITTED_GROUPS or right == images:
        return 1.0
    return float(TEMPERATURES[int(judgement.losses.argmin())])


def summarize_judged_odds(judgement: HeadJudgement, temperature: float) -> tuple[LabelScores, ...]:
    """Return where the scores of held-out images lie, for each label that the head gives them.

    The odds at the temperature follow from those at 1, exactly for two classes; heads are scaled so that it is near 1.
    """
    if len(judgement.labels) > MAX_WATCHED:
        return ()
    bounds, found = np.concatenate([[-MAX_ODDS], ODDS_EDGES, [MAX_ODDS]]), []
    for counts in judgement.odds:
        count = int(counts.sum())
        odds = np.interp(np.arange(count) + 0.5, np.cumsum([0, *counts]), bounds) / temperature  # even within a bin
        odds = np.clip(odds, -MAX_ODDS, MAX_ODDS)
        found.append(summarize_odds(odds, groups=count))
    return tuple(found)


def build_head(
    base: ArtifactFeatures, head: MergedHead, target: Path, *, temperature: float, scores: tuple[LabelScores, ...] = ()
) -> Artifact:
    """Make an artifact of the base with another head of classes.

    Args:
        base: Artifact with the backbone, and its features.
        head: The head.
        target: Directory of the artifact; its name is the version.
        temperature: Divisor of the logits before they become probabilities.
        scores: Scores of held-out images for each label.

    Raises:
        ConversionError: The head of the base can't be replaced; a ParityError if the graph gives other answers.
    """
    known, correction = base.artifact.manifest, prior_correction(head.label_weights)
    logits = head.head(base.golden.astype(np.float64))
    probabilities = softmax(logits, temperature, correction)
    changed = replace(
        known,
        labels=head.labels,
        outputs=tuple(replace(one, shape=(*one.shape[:-1], len(head.labels))) for one in known.outputs),
        temperature=temperature,
        decision=DecisionRule(label_weights=head.label_weights),
        source=replace(known.source, digest=head.digest, figure=MEAN_RECALL if head.label_weights else ACCURACY),
        label_scores=scores,
    )
    shift = np.zeros(len(head.labels)) if correction is None else -temperature * correction
    weights = [head.head.kernel, head.head.bias, shift, np.full(len(shift), temperature)]
    return _build_artifact(base, target, changed, weights, {LOGITS: logits, PROBABILITIES: probabilities})


def build_scorer(base: ArtifactFeatures, scorer: Gaussian, rule: AnomalyRule, digest: str, target: Path) -> Artifact:
    """Make an artifact of the base with another model of good images.

    Args:
        base: Artifact with the backbone, and its features.
        scorer: The model, for features that are not projected.
        rule: Its threshold.
        digest: Digest of the merged sums that it follows from.
        target: Directory of the artifact; its name is the version.

    Raises:
        ConversionError: The base has another kind of model; a ParityError if the graph gives other answers.
    """
    known, scores = base.artifact.manifest, scorer.score(base.golden)
    decision = FittedAnomaly(scorer=scorer, rule=rule).decision
    shape = next(one.shape for one in known.outputs if one.name == MAP)
    logits = decision(scores.max(axis=1, keepdims=True))
    answers = {LOGITS: logits, PROBABILITIES: softmax(logits), MAP: scores.reshape(shape)}
    changed = replace(known, temperature=1.0, anomaly=rule, source=replace(known.source, digest=digest))
    unscaled = (np.zeros(2), np.ones(2))  # the logits are the probabilities' as they are
    weights = [*scorer.weights(), decision.kernel, decision.bias, *unscaled]
    return _build_artifact(base, target, changed, weights, answers)


def _build_artifact(
    base: ArtifactFeatures, target: Path, changed: Manifest, weights: Sequence[npt.NDArray[Any]],
    answers: Mapping[str, Features],
) -> Artifact:  # fmt: skip
    """Make an artifact of the base with another head.

    The golden images stay, and their expected answers are those of the head in 64-bit floats for the features that the
    graph computes; the graph must give the same ones.

    Args:
        base: Artifact with the backbone, and its features.
        target: Directory of the artifact; its name is the version.
        changed: Manifest of the base with what the head changes.
        weights: Weights of the head in the order in which the graph uses them.
        answers: Outputs for the golden images by name.
    """
    artifact, cases = base.artifact, load_golden(base.artifact)
    files = [artifact.path / one.file for one in cases]
    truth = Answers(
        outputs=tuple({name: values[row] for name, values in answers.items()} for row in range(len(cases))),
        tensor_sha256=tuple(one.tensor_sha256 for one in cases),
    )
    source = ModelSource(
        route="run", model=artifact.path, name=changed.name, version=target.name, labels=changed.labels,
        recipe=changed.image_recipe, interface=Interface(), digest=changed.source.digest,
        temperature=changed.temperature, decision=changed.decision,
    )  # fmt: skip
    with open_staging(target) as (staging, _):
        replace_head(artifact, staging, weights)
        session = Session(staging / MODEL, optimise=changed.optimise_on_open)
        parity = prove_parity(session, source, files, truth, TOLERANCE)
        (staging / GOLDEN).mkdir()
        expected = [{name: tuple(numbers(value.ravel())) for name, value in one.items()} for one in truth.outputs]
        write_index(
            staging / INDEX, [replace(case, outputs=outputs) for case, outputs in zip(cases, expected, strict=True)]
        )
        (staging / LABELS).write_text("".join(f"{label}\n" for label in changed.labels), encoding="utf-8")
        for name in changed.files.keys() - file_entries(staging).keys():  # golden images, licences
            shutil.copyfile(artifact.path / name, staging / name)
        features = find_features(staging / MODEL)
        made = replace(changed, version=target.name, parity=parity, files=file_entries(staging), features=features)
        staged = Artifact(path=staging, manifest=made, digest=made.digest())
        check(staged, open_session(staged).attempt)
        return write_artifact(staging, target, made)

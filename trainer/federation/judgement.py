"""A site's judgement of a merged head on images that the site holds out, as numbers that add up over sites.

Counts and sums are all that the cloud needs for a temperature or a threshold, for the intervals of accuracies and for
the comparison with the model that serves. They are exact: a bin of scores often has one group, whose score it shows to
1 %, and two judgements show what changed between them. No minimum and no noise hides that. Images of one group, such as
shots of one part, are no independent evidence, so each group counts once.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from eaves.artifact.manifest import ANOMALOUS, MAX_ODDS, NORMAL, log_odds
from eaves.base.strict_json import parse_json
from eaves.errors import RunError
from trainer.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, likelihoods, prior_correction, softmax
from trainer.federation.head_file import MergedHead
from trainer.model.feature_sums import Features, Floats, Labels, parse_labels

TEMPERATURES: Floats = np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 41)
"""Temperatures at which the loss is summed; neighbours differ by 16 %."""
ODDS_EDGES: Floats = MAX_ODDS * np.sinh(np.linspace(-5, 5, 19)) / np.sinh(5)
"""Edges between the 20 bins of log odds at temperature 1, close to each other around 0."""
SCORE_EDGES: Floats = np.power(1.01, np.arange(900, dtype=np.float64))
"""Upper edges of the bins of an anomaly's score, 1 to 7,700; good images have about the square root of the number of
features, and the last bin has all higher scores."""
FORMAT = 1
MAX_BYTES = 16 * 2**20
"""Maximum size of a judgement, bytes; it has two bytes or more for each pair of classes."""
MAX_JUDGED = 100_000
"""Maximum number of images in a judgement; a site that says more can't have looked at them."""
MAX_JUDGED_GROUPS = 10_000
"""Maximum number of groups in a judgement of anomalies; those of all sites are compared one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteJudgement:
    """How one head does on the held-out images of one or more sites; all its arrays add up.

    Attributes:
        head: Digest of the head's file.
        serving: Digest of the artifact that serves at the site; empty when sites with different ones are merged.
        labels: Names of the head's classes, C.
    """

    head: str
    serving: str
    labels: tuple[str, ...]

    def merge(self, other: Self) -> Self:
        """Return the judgement of the same head on the images of both; no group may be in both."""
        arrays = {name: value for name, value in asdict(self).items() if isinstance(value, np.ndarray)}
        added = {name: value + getattr(other, name) for name, value in arrays.items()}
        return replace(self, serving=self.serving if other.serving == self.serving else "", **added)

    def to_json(self) -> bytes:
        """Return the canonical bytes of the judgement."""
        values = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(self).items()
        }
        return json.dumps({"format": FORMAT, **values}, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Self:
        """Parse a judgement; `name` is the name of its file for messages.

        Raises:
            RunError: When it is damaged, of another version, or its numbers contradict each other.
        """
        try:
            if len(content) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES} bytes")
            found = parse_json(content, max_values=None)
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']!r} is not known")
            labels = parse_labels(found)
            arrays = cls._parse(found, len(labels))
            return cls(head=str(found["head"]), serving=str(found["serving"]), labels=labels, **arrays)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RunError(f"{name} is not a usable judgement: {str(error)[:200]}") from error

    @classmethod
    @abstractmethod
    def _parse(cls, found: Mapping[str, Any], size: int) -> dict[str, Any]:
        """Return the fields of this kind of judgement, of a number of classes.

        Raises:
            ValueError: When they can't be those of images.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadJudgement(SiteJudgement):
    """How a head of classes does.

    Attributes:
        confusion: (C + 1, C) int64, number of images of each class, in rows, by the answer; the last row has those of
            classes that the head doesn't know, which count nowhere else.
        compared: (2,) int64, number of images that only the head, and that only the serving model is right about.
        losses: (41,) float64, sum of the negative log-likelihoods of the true classes at each of `TEMPERATURES`, nats.
        odds: (C, 20) int64, number of images by answer and by the log odds of the answer at temperature 1, see
            `ODDS_EDGES`.
    """

    confusion: Labels
    compared: Labels
    losses: Floats
    odds: Labels

    @classmethod
    def _parse(cls, found: Mapping[str, Any], size: int) -> dict[str, Any]:
        confusion = _parse_array(found["confusion"], (size + 1, size), np.int64)
        compared = _parse_array(found["compared"], (2,), np.int64)
        odds = _parse_array(found["odds"], (size, len(ODDS_EDGES) + 1), np.int64)
        answered, right = confusion[:-1].sum(axis=0), confusion.trace()
        wrong = answered.sum() - right
        if right + wrong > MAX_JUDGED or (compared > (right, wrong)).any() or (odds.sum(axis=1) != answered).any():
            raise ValueError("its numbers contradict each other")
        return {
            "confusion": confusion,
            "compared": compared,
            "losses": _parse_array(found["losses"], TEMPERATURES.shape, np.float64),
            "odds": odds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyJudgement(SiteJudgement):
    """How merged sums of good images tell anomalous images; a group of images counts by its highest score.

    Attributes:
        groups: (2, 2, bins) int64, number of groups: of good images and of anomalous ones; that the serving model lets
            pass, and that it raises an alarm for; by their score, see `SCORE_EDGES`. The classes are these two.
    """

    groups: Labels

    @classmethod
    def _parse(cls, found: Mapping[str, Any], size: int) -> dict[str, Any]:
        if size != 2:
            raise ValueError(f"it has {size} classes")
        groups = _parse_array(found["groups"], (2, 2, len(SCORE_EDGES)), np.int64)
        if groups.sum() > MAX_JUDGED_GROUPS:
            raise ValueError(f"{groups.sum()} groups are impossible")
        return {"groups": groups}


def judge(
    head: MergedHead,
    digest: str,
    features: Features,
    scores: Features,
    serving_labels: Sequence[str],
    truth: Sequence[str],
    serving: str,
) -> HeadJudgement:
    """Judge a head on images, each of another group or class.

    Args:
        head: The head.
        digest: Digest of the head's file.
        features: (N, D) features of the images.
        scores: (N, classes) scores or logits that the serving model gives them; the largest is its answer.
        serving_labels: Names of the serving model's classes.
        truth: (N,) name of the class of each image.
        serving: Digest of the serving artifact.
    """
    size, bias = len(head.labels), prior_correction(head.label_weights)
    numbers = {label: number for number, label in enumerate(head.labels)}
    rows = np.array([numbers.get(label, size) for label in truth], np.int64)
    known = rows < size
    logits = head.head(features.astype(np.float64))
    answers = logits.argmax(axis=1)
    served = np.asarray(serving_labels)[scores.argmax(axis=1)]
    right, before = answers == rows, served == np.asarray(truth, np.str_)
    confusion, odds = np.zeros((size + 1, size), np.int64), np.zeros((size, len(ODDS_EDGES) + 1), np.int64)
    np.add.at(confusion, (rows, answers), 1)
    logits, answers, rows = logits[known], answers[known], rows[known]
    scores = np.take_along_axis(softmax(logits, bias=bias), answers[:, np.newaxis], axis=1)[:, 0]
    np.add.at(odds, (answers, np.searchsorted(ODDS_EDGES, [log_odds(score, 1 - score) for score in scores])), 1)
    return HeadJudgement(
        labels=head.labels,
        head=digest,
        serving=serving,
        confusion=confusion,
        compared=np.array([(right & ~before).sum(), (known & before & ~right).sum()]),
        losses=np.array([likelihoods(logits, rows, temperature, bias).sum() for temperature in TEMPERATURES]),
        odds=odds,
    )


def judge_anomalies(
    head: str, scores: Floats, alarms: Labels, truth: Sequence[str], groups: Sequence[str], serving: str
) -> AnomalyJudgement:
    """Judge merged sums of good images on images.

    Args:
        head: Digest of the file of the sums.
        scores: (N,) score of each image.
        alarms: (N,) 1 where the serving model raises an alarm, else 0.
        truth: (N,) whether each image is normal or anomalous, as the manifest names it.
        groups: (N,) name of the group of each image.
        serving: Digest of the serving artifact.
    """
    found = dict[tuple[str, str], tuple[float, int]]()
    for name, score, alarm in zip(zip(truth, groups, strict=True), scores, alarms, strict=True):
        highest, alarmed = found.get(name, (0.0, 0))
        found[name] = max(highest, score), max(alarmed, alarm)
    counts = np.zeros((2, 2, len(SCORE_EDGES)), np.int64)
    for (label, _), (score, alarm) in found.items():
        counts[int(label != NORMAL), alarm, np.searchsorted(SCORE_EDGES[:-1], score)] += 1
    return AnomalyJudgement(head=head, serving=serving, labels=(NORMAL, ANOMALOUS), groups=counts)


def _parse_array(found: Any, shape: tuple[int, ...], kind: type[np.number]) -> npt.NDArray[Any]:
    values = np.array(found)
    if values.shape != shape or values.dtype.kind not in "iuf" or not (values >= 0).all() or values.sum() > 2.0**53:
        raise ValueError(f"{str(found)[:80]} are not {shape} numbers from 0 on")
    if (values.astype(kind) != values).any():
        raise ValueError(f"{str(found)[:80]} are no whole numbers")
    return values.astype(kind)

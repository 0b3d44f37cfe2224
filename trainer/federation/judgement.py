"""A site's judgement of a merged head on images that the site holds out, as numbers that add up over sites.

Counts, and sums over groups of images, are all that the cloud needs for a temperature, for the intervals of accuracies
and for the comparison with the model that serves. No number belongs to a single image, unless a site has only one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact.manifest import MAX_ODDS
from eaves.base.strict_json import parse_json
from eaves.errors import RunError
from trainer.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, likelihoods, prior_correction, softmax
from trainer.federation.head_file import MergedHead
from trainer.model.feature_sums import Features, Floats, Labels, parse_labels

TEMPERATURES: Floats = np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 41)
"""Temperatures at which the loss is summed; neighbours differ by 16 %."""
ODDS_EDGES: Floats = MAX_ODDS * np.sinh(np.linspace(-5, 5, 19)) / np.sinh(5)
"""Edges between the 20 bins of log odds at temperature 1, close to each other around 0."""
FORMAT = 1
MAX_BYTES = 16 * 2**20
"""Maximum size of a judgement, bytes; it has two bytes or more for each pair of classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadJudgement:
    """How one head does on the held-out images of one or more sites.

    Attributes:
        labels: Names of the head's classes, C.
        head: Digest of the head's file.
        serving: Digest of the artifact that serves at the site; empty when sites with different ones are merged.
        confusion: (C, C) int64, number of images of each class, in rows, by the answer.
        unknown: Number of images of classes that the head doesn't know; all else is without them.
        moments: (4, 4) float64, sum over the groups of images of outer(v, v), where v are the numbers of a group's
            images, of those that the head is right about, and of those that it alone, or only the serving model, is
            right about.
        totals: (4,) float64, sum of v over the groups.
        groups: Number of groups; images of one group, such as shots of one part, are no independent evidence.
        losses: (41,) float64, sum of the negative log-likelihoods of the true classes at each of `TEMPERATURES`, nats.
        odds: (C, 20) int64, number of images by answer and by the log odds of the answer at temperature 1, see
            `ODDS_EDGES`.
    """

    labels: tuple[str, ...]
    head: str
    serving: str
    confusion: Labels
    unknown: int
    moments: Floats
    totals: Floats
    groups: int
    losses: Floats
    odds: Labels

    def merge(self, other: HeadJudgement) -> HeadJudgement:
        """Return the judgement on the images of both; no group may be in both.

        Raises:
            RunError: When the judgements are of different heads.
        """
        if (other.head, other.labels) != (self.head, self.labels):
            raise RunError(f"the judgements are of the heads {self.head[:12]} and {other.head[:12]}, not of one")
        return replace(
            self,
            serving=self.serving if other.serving == self.serving else "",
            confusion=self.confusion + other.confusion,
            unknown=self.unknown + other.unknown,
            moments=self.moments + other.moments,
            totals=self.totals + other.totals,
            groups=self.groups + other.groups,
            losses=self.losses + other.losses,
            odds=self.odds + other.odds,
        )

    def to_json(self) -> bytes:
        """Return the canonical bytes of the judgement."""
        values = {
            key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(self).items()
        }
        return json.dumps({"format": FORMAT, **values}, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes, name: str) -> HeadJudgement:
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
            size = len(labels)
            judgement = cls(
                labels=labels,
                head=str(found["head"]),
                serving=str(found["serving"]),
                confusion=_parse_counts(found, "confusion", (size, size)),
                unknown=int(_parse_counts(found, "unknown", ())),
                moments=_parse_numbers(found, "moments", (4, 4)),
                totals=_parse_numbers(found, "totals", (4,)),
                groups=int(_parse_counts(found, "groups", ())),
                losses=_parse_numbers(found, "losses", TEMPERATURES.shape),
                odds=_parse_counts(found, "odds", (size, len(ODDS_EDGES) + 1)),
            )
            judgement._check()
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RunError(f"{name} is not a usable judgement: {str(error)[:200]}") from error
        return judgement

    def _check(self) -> None:
        """Check that the numbers may be those of images.

        Raises:
            ValueError: When they contradict each other.
        """
        images, right, gained, lost = self.totals
        counted = (self.confusion.sum(), self.confusion.trace())
        if (images, right) != counted or (self.odds.sum(axis=1) != self.confusion.sum(axis=0)).any():
            raise ValueError(f"its totals are {images:g} images and {right:g} right answers, its counts differ")
        if (
            not bool(self.groups) == bool(images)
            or not self.groups <= images
            or gained > right
            or lost > images - right
        ):
            raise ValueError(f"{self.groups} groups with {gained:g} gained and {lost:g} lost images are impossible")
        least = np.outer(self.totals, self.totals) / max(self.groups, 1)
        excess = np.linalg.eigvalsh(self.moments - least)[0]  # groups' deviations from their mean have a covariance
        if (self.moments != self.moments.T).any() or excess < -1e-6 * (1 + self.moments[0, 0]):
            raise ValueError("its moments are not those of groups with these totals")


def judge(
    head: MergedHead,
    digest: str,
    features: Features,
    scores: Features,
    serving_labels: Sequence[str],
    truth: Sequence[str],
    groups: Sequence[str],
    serving: str,
) -> HeadJudgement:
    """Judge a head on images.

    Args:
        head: The head.
        digest: Digest of the head's file.
        features: (N, D) features of the images.
        scores: (N, classes) scores or logits that the serving model gives them; the largest is its answer.
        serving_labels: Names of the serving model's classes.
        truth: (N,) name of the class of each image.
        groups: (N,) name of the group of each image.
        serving: Digest of the serving artifact.
    """
    size, bias = len(head.labels), prior_correction(head.label_weights)
    numbers = {label: number for number, label in enumerate(head.labels)}
    known = np.array([label in numbers for label in truth], np.bool_)
    rows = np.array([numbers[label] for label in truth if label in numbers], np.int64)
    logits = head.head(features[known].astype(np.float64))
    answers = logits.argmax(axis=1)
    served = np.asarray(serving_labels)[scores[known].argmax(axis=1)]
    right, before = answers == rows, served == np.asarray(truth, np.str_)[known]
    names, group = np.unique(np.asarray(groups)[known], return_inverse=True)
    counted = np.zeros((len(names), 4))
    np.add.at(counted, group, np.stack([np.ones_like(right), right, right & ~before, before & ~right], axis=1))
    return HeadJudgement(
        labels=head.labels,
        head=digest,
        serving=serving,
        confusion=_count(rows, answers, (size, size)),
        unknown=int(len(truth) - known.sum()),
        moments=counted.T @ counted,
        totals=counted.sum(axis=0),
        groups=len(names),
        losses=np.array([likelihoods(logits, rows, temperature, bias).sum() for temperature in TEMPERATURES]),
        odds=_count(
            answers, np.searchsorted(ODDS_EDGES, _log_odds(logits, answers, bias)), (size, len(ODDS_EDGES) + 1)
        ),
    )


def _log_odds(logits: Floats, answers: Labels, bias: npt.NDArray[Any] | None) -> Floats:
    """Return the log odds of each image's answer, (N,), as `eaves.artifact.manifest.log_odds`."""
    rows = np.arange(len(answers))
    scores = softmax(logits, bias=bias)
    own = scores[rows, answers]
    scores[rows, answers] = 0.0
    least = np.exp(-MAX_ODDS)
    odds = np.log(np.maximum(own, least) / np.maximum(scores.sum(axis=1), least))
    return np.asarray(np.clip(odds, -MAX_ODDS, MAX_ODDS))


def _count(rows: Labels, columns: npt.NDArray[Any], shape: tuple[int, int]) -> Labels:
    counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.int64)


def _parse_numbers(found: dict[str, Any], name: str, shape: tuple[int, ...]) -> Floats:
    values = np.array(found[name])
    if values.shape != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{name} are not {shape} numbers from 0 on")
    return values.astype(np.float64)


def _parse_counts(found: dict[str, Any], name: str, shape: tuple[int, ...]) -> Labels:
    values = _parse_numbers(found, name, shape)
    if (values != np.floor(values)).any() or values.sum() > 2**53:
        raise ValueError(f"{name} are not {shape} whole numbers")
    return values.astype(np.int64)

"""Selects the int8 graph to assess on images of the training side, so that the assessment needs no correction.

If one of k candidates were selected on the images that it is assessed on, a bad graph would ship up to k times as
often. Therefore only the selected candidate is run on those images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")
SHARE_ON_TRAINED = 0.25
"""Factor of the allowed loss of accuracy; the product is the largest share of training images on which int8 may give
another label than fp32. It is small, because a network is more certain about images that it was trained on: int8 with
7-bit weights of Inception V3 on flowers gave another label on 1.5 % of the training images and on 6.7 % of other
images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScore:
    """Difference between the answers of an int8 candidate and those of fp32 on the images used for selection.

    Attributes:
        different: Share of images to which the candidate gives another label than fp32.
        worst_probability: Largest difference of a probability.
    """

    different: float
    worst_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionGoal:
    """Limits of a candidate's score; the search ends at the first candidate within them.

    Attributes:
        different: Maximum share of images to which the candidate may give another label than fp32.
        worst_probability: Largest difference of a probability.
    """

    different: float
    worst_probability: float

    def met(self, look: CandidateScore) -> bool:
        """Return whether a candidate's score is within the limits."""
        return look.different <= self.different and look.worst_probability <= self.worst_probability


def pick_candidate(
    candidates: Iterable[C], look: Callable[[C], CandidateScore], wanted: SelectionGoal, out_of_time: Callable[[], bool]
) -> list[ScoredCandidate[C]]:
    """Score candidates in order until one is good enough.

    Args:
        candidates: At least one candidate, the most quantised first; each is made on demand.
        look: Function that scores a candidate on the selection images.
        wanted: Goal that ends the search.
        out_of_time: Function that returns whether no further candidate may be made.

    Returns:
        Every scored candidate, with the selected one last. The selected candidate is the first that is good enough, or
        else the one that gives fp32's label to the most images; of equal candidates, the most quantised.
    """
    seen: list[ScoredCandidate[C]] = []
    for candidate in candidates:
        seen.append(ScoredCandidate(candidate=candidate, look=look(candidate)))
        if wanted.met(seen[-1].look):
            return seen
        if out_of_time():
            break
    best = min(seen, key=lambda one: (one.look.worst_probability > wanted.worst_probability, one.look.different))
    return [one for one in seen if one is not best] + [best]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCandidate(Generic[C]):
    """An int8 candidate and its score on the images used for selection."""

    candidate: C
    look: CandidateScore

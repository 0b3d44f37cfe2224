"""Which int8 graph is judged: picked on images of the training side, so that the judgement needs no correction.

Picking among k candidates on the images that judge them would ship a bad one up to k times as often. Here the judged
images are looked at by one candidate only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")
SHARE_ON_TRAINED = 0.25
"""Of the loss that is allowed, the share of other answers that a look on trained images may find: a network is surer of
images that it was trained on. Inception V3 on flowers in 7 bits differed on 1.5 % of these and on 6.7 % of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScore:
    """How a candidate answers the images that it is picked on, beside fp32.

    Attributes:
        different: Share of images that get another label.
        worst_probability: Largest difference of a probability.
    """

    different: float
    worst_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionGoal:
    """What a look must be for the search to end.

    Attributes:
        different: Largest share of other labels.
        worst_probability: Largest difference of a probability.
    """

    different: float
    worst_probability: float

    def met(self, look: CandidateScore) -> bool:
        """Whether a look is good enough."""
        return look.different <= self.different and look.worst_probability <= self.worst_probability


def pick_candidate(
    candidates: Iterable[C], look: Callable[[C], CandidateScore], wanted: SelectionGoal, out_of_time: Callable[[], bool]
) -> list[ScoredCandidate[C]]:
    """Look at candidates in order until one is good enough.

    Args:
        candidates: The most quantised first; each is made when it is asked for. At least one.
        look: Runs one on the images to pick on.
        wanted: What ends the search.
        out_of_time: Whether no further candidate may be made.

    Returns:
        Every candidate that was looked at, the picked one last: the first that is good enough, else the one that
        answers most images as fp32 does (of those alike the most quantised).
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
    """A candidate and how it answered."""

    candidate: C
    look: CandidateScore

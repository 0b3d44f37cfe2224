"""What one judge says of a new revision. Pure.

A judge is a function of the rollout's state. Errors and times are judged today; whoever adds another judge (of labels
that arrive later, say) writes one such function and lists it in `knative.rollout.analysis.decision.JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from knative.rollout.rollout_state import RolloutState

FALSE_ALARMS = 0.01
"""Probability, over a whole rollout and all judges, that a revision as good as the old one is rolled back."""
MISSED = 0.05
"""Probability that the last step passes a revision whose increase is as large as the largest one allowed."""


class AssessmentResult(StrEnum):
    """What a judge has found. One `WORSE` rolls back; a step passes when nobody says `WORSE` or `OPEN`."""

    WORSE = "worse"
    FINE = "fine"
    OPEN = "open"
    """Too little was seen to tell."""
    SILENT = "silent"
    """There is nothing that this judge could judge by; it stands in nobody's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One judge's.

    Attributes:
        finding: What.
        evidence: What was seen, for people.
        why: Of `WORSE`: what is wrong; of `OPEN`: what is missing.
    """

    finding: AssessmentResult
    evidence: str
    why: str = ""


Judge = Callable[[RolloutState], Assessment]


def false_alarm(state: RolloutState, judges: int) -> float:
    """The share of `FALSE_ALARMS` that one judge has in one step."""
    return FALSE_ALARMS / (judges * max(1, len(state.settings.steps)))

"""The assessment of a new revision by one judge. Pure.

A judge is a function of the rollout's state. There is one for errors and one for latency. Another judge (for labels
that arrive later, say) is one such function, listed in `knative.rollout.analysis.decision.JUDGES`.
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
    """The result of one judge. One `WORSE` rolls back; a step passes when no judge returns `WORSE` or `OPEN`."""

    WORSE = "worse"
    FINE = "fine"
    OPEN = "open"
    """There are too few requests to decide."""
    SILENT = "silent"
    """The judge has no data to decide by; it doesn't block the rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The assessment by one judge.

    Attributes:
        finding: Result of the judge.
        evidence: Measurements that it rests on, for people.
        why: For `WORSE`, what is wrong; for `OPEN`, what is missing.
    """

    finding: AssessmentResult
    evidence: str
    why: str = ""


Judge = Callable[[RolloutState], Assessment]


def false_alarm(state: RolloutState, judges: int) -> float:
    """Return the share of `FALSE_ALARMS` that one judge has in one step."""
    return FALSE_ALARMS / (judges * max(1, len(state.settings.steps)))

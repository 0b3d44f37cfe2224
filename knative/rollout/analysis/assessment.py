"""The result of a judge: a function that assesses a new revision by one measure. Pure.

There is a judge for errors, one for refusals and one for latency, and all get the rollout's state. Another judge, for
example one for labels that arrive later, is one more such function in `knative.rollout.analysis.decision.JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from knative.rollout.rollout_state import RolloutState

FALSE_ALARMS = 0.01
"""Probability, over a whole rollout and all judges, that a revision as good as the old one is rolled back."""
TESTS = 3
"""Number of tests that share `FALSE_ALARMS` equally: those of errors, of refusals and of latency."""
MISSED = 0.05
"""Probability that the last step passes a revision whose increase of the error rate is as large as
`max_error_increase`."""


class AssessmentResult(StrEnum):
    """The result of a judge, a function that assesses a new revision by one measure.

    One `WORSE` rolls the revision back. A step passes when no judge returns `WORSE` or `OPEN`.
    """

    WORSE = "worse"
    FINE = "fine"
    OPEN = "open"
    """There are too few requests for a decision."""
    SILENT = "silent"
    """The judge has no data for a decision, and doesn't prevent the step from passing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The assessment of a new revision by one judge.

    Attributes:
        finding: Result of the judge.
        evidence: Measurements on which the finding is based, as a text for people.
        why: For `WORSE`, what is wrong; for `OPEN`, what is missing.
    """

    finding: AssessmentResult
    evidence: str
    why: str = ""


Judge = Callable[[RolloutState], Assessment]


def false_alarm(state: RolloutState) -> float:
    """Return the allowed probability of a wrong rollback by one judge in one step: its share of `FALSE_ALARMS`."""
    return FALSE_ALARMS / (TESTS * max(1, len(state.settings.steps)))

"""How often rollouts are judged rightly: a few of the simulated rollouts of docs/benchmarks.md, with the same seeds.

Bars are those of its table. Few rollouts can't show a share of 1 %, so a good revision must not be rolled back even
once here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from knative.rollout.state import RolloutPhase
from tests.integration.knative.rollout.simulation import Revision, simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Behaviour of both revisions, the least shares that must be done and rolled back, and whether none may be."""

    name: str
    old: Revision
    new: Revision
    least_done: float = 0.0
    least_back: float = 0.0
    is_never_back: bool = True


def equal(name: str, both: Revision) -> Scenario:
    return Scenario(name=name, old=both, new=both, least_done=0.9)


def worse(name: str, old: Revision, new: Revision) -> Scenario:
    return Scenario(name=name, old=old, new=new, least_back=0.95, is_never_back=False)


def fail_for(length_s: float, start_s: float) -> Callable[[float], float]:
    """Error rate by seconds since the start: all requests fail for a while, 0.1 % before and after."""
    return lambda at_s: 1.0 if start_s <= at_s < start_s + length_s else 0.001


USUAL = Revision(errors=0.001)
BLIP = Scenario(name="all fail for 15 s", old=USUAL, new=Revision(errors=fail_for(15, 90)))
"""At 2 requests/s the rollout is in its first step then."""
FAILS_MORE = worse("0.1 % of requests fail, then 2 %", USUAL, Revision(errors=0.02))


@pytest.mark.parametrize(
    ("scenario", "per_second", "rollouts"),
    [
        (equal("none fails", Revision()), 2, 12),
        (equal("1 % fail", Revision(errors=0.01)), 20, 20),
        (FAILS_MORE, 2, 12),
        (BLIP, 2, 12),
        (equal("5 % are refused", Revision(refusals=0.05)), 20, 60),
        (worse("0 % are refused, then 10 %", Revision(), Revision(refusals=0.1)), 2, 12),
        (equal("times vary by their mean", Revision(cv=1.0)), 20, 60),
        (worse("times twice as long", Revision(cv=1.0), Revision(cv=1.0, ms=200.0)), 20, 40),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else str(value),
)
def test_rollouts_are_judged_rightly(scenario: Scenario, per_second: float, rollouts: int) -> None:
    endings = [simulate(scenario.old, scenario.new, per_second=per_second, seed=seed) for seed in range(rollouts)]
    reasons, phases = [one.reason for one in endings], Counter(one.phase for one in endings)
    assert phases[RolloutPhase.DONE] / rollouts >= scenario.least_done, reasons
    assert phases[RolloutPhase.ROLLED_BACK] / rollouts >= scenario.least_back, reasons
    assert not (scenario.is_never_back and phases[RolloutPhase.ROLLED_BACK]), reasons

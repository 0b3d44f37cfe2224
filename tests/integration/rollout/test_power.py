"""How often rollouts are judged rightly: a few of the simulated rollouts of docs/evidence.md, with the same seeds.

Bars are those of its tables. Few rollouts can't show a share of 1 %, so a good revision must not be rolled back even
once here.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from eaves.rollout.state import RolloutPhase
from tests.integration.rollout.simulation import Revision, Site, simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Behaviour of both revisions, the least shares that must be done and rolled back, and whether none may be."""

    name: str
    old: Revision
    new: Revision
    least_done: float = 0.0
    least_back: float = 0.0
    is_never_back: bool = True
    per_second: float = 2.0
    site: Site = field(default_factory=Site)


def equal(name: str, both: Revision) -> Scenario:
    return Scenario(name=name, old=both, new=both, least_done=0.9)


def worse(name: str, old: Revision, new: Revision, *, least_back: float = 0.95, site: Site | None = None) -> Scenario:
    return Scenario(name=name, old=old, new=new, least_back=least_back, is_never_back=False, site=site or Site())


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
        (equal("none fails", Revision()), 2, 8),
        (equal("1 % fail", Revision(errors=0.01)), 20, 10),
        (FAILS_MORE, 2, 6),
        (BLIP, 2, 6),
        (equal("5 % are refused", Revision(refusals=0.05)), 20, 20),
        (worse("0 % are refused, then 10 %", Revision(), Revision(refusals=0.1)), 2, 8),
        (equal("times vary by their mean", Revision(cv=1.0)), 20, 30),
        (worse("times twice as long", Revision(cv=1.0), Revision(cv=1.0, ms=200.0)), 20, 20),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else str(value),
)
def test_rollouts_are_judged_rightly(scenario: Scenario, per_second: float, rollouts: int):
    endings = [simulate(scenario.old, scenario.new, per_second=per_second, seed=seed) for seed in range(rollouts)]
    reasons, phases = [one.reason for one in endings], Counter(one.phase for one in endings)
    assert phases[RolloutPhase.DONE] / rollouts >= scenario.least_done, reasons
    assert phases[RolloutPhase.ROLLED_BACK] / rollouts >= scenario.least_back, reasons
    assert not (scenario.is_never_back and phases[RolloutPhase.ROLLED_BACK]), reasons


AGENT = Site(has_agent=True)
MACHINE = Site(takes_turns=True)
TO_ZERO = Site(has_agent=True, look_s=300.0, idle_s=60.0)
HOURLY = replace(TO_ZERO, look_s=3600.0)
APART = Site(has_agent=True, slowness=(1.0, 2.0))
SHARED = replace(APART, spread=True)
FIVE_A_MINUTE = 5 / 60
VARIES = Revision(cv=1.0)
TWICE = Revision(cv=1.0, ms=200.0)
BARS = (
    Scenario(name="equal at 2/s", old=USUAL, new=USUAL, least_done=0.93, site=AGENT),
    worse("5 points more errors at 2/s", USUAL, Revision(errors=0.051), least_back=0.91, site=AGENT),
    Scenario(name="equal on one machine", old=USUAL, new=USUAL, least_done=0.93, site=MACHINE),
    worse("5 points more errors on one machine", USUAL, Revision(errors=0.051), least_back=0.91, site=MACHINE),
    worse("5 points more refusals at 2/s", Revision(), Revision(refusals=0.05), least_back=0.91, site=AGENT),
    *(
        replace(one, per_second=FIVE_A_MINUTE, site=site, name=f"{one.name} at 5 a minute to zero, {site.look_s:.0f} s")
        for site in (TO_ZERO, HOURLY)
        for one in (
            Scenario(name="equal", old=USUAL, new=USUAL, least_done=0.93),
            worse("20 points more errors", USUAL, Revision(errors=0.201), least_back=0.91),
            worse("20 points more refusals", Revision(), Revision(refusals=0.2), least_back=0.91),
        )
    ),
    Scenario(name="equal on random nodes of speed 1:2", old=VARIES, new=VARIES, site=APART),
    Scenario(name="equal on shared nodes of speed 1:2", old=VARIES, new=VARIES, least_done=0.93, site=SHARED),
    worse("twice as slow on shared nodes of speed 1:2", VARIES, TWICE, least_back=0.91, site=SHARED),
)
"""Bars of issue 37: the requests come from an agent, whose counts survive the pods."""
DAY_S = 86_400.0


@pytest.mark.parametrize("scenario", BARS, ids=lambda one: one.name)
@pytest.mark.parametrize("rollouts", [6, pytest.param(1000, marks=pytest.mark.slow)])
def test_counts_that_survive_pods_decide_within_a_day(scenario: Scenario, rollouts: int):
    old, new, site = scenario.old, scenario.new, scenario.site
    endings = [simulate(old, new, per_second=scenario.per_second, seed=n, site=site) for n in range(rollouts)]
    reasons = [one.reason for one in endings]
    phases = Counter(one.phase for one in endings if one.after_s <= DAY_S)
    assert phases[RolloutPhase.DONE] / rollouts >= scenario.least_done, reasons
    assert phases[RolloutPhase.ROLLED_BACK] / rollouts >= scenario.least_back, reasons
    assert phases[RolloutPhase.ROLLED_BACK] <= 0.01 * rollouts or scenario.least_back, reasons

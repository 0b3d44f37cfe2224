"""Defines how the old and the new revision behave in each row of the table of simulated rollouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.rollout.simulation import Revision

BLIP_AT_S = 90.0
"""Seconds from the start of a rollout to the brief failure of the new revision. At 2 requests/s the rollout is then in
its first step, at 20 requests/s in its second one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Behaviour of the old and the new revision in a simulated rollout, and how often it may end in which way.

    Attributes:
        name: Description of the scenario in the table.
        old: Behaviour of the old revision, which serves before the rollout.
        new: Behaviour of the new revision.
        least_done: Minimum share of rollouts in which the new revision must get all requests.
        most_done: Maximum share of rollouts in which the new revision may get all requests.
        least_back: Minimum share of rollouts that must be rolled back.
        most_back: Maximum share of rollouts that may be rolled back.
    """

    name: str
    old: Revision
    new: Revision
    least_done: float = 0.0
    most_done: float = 1.0
    least_back: float = 0.0
    most_back: float = 1.0


FALSE_ALARMS = 0.01
"""Maximum share of rollouts that may be rolled back although the new revision is good."""


def equal(errors: float) -> Scenario:
    """Return a scenario in which both revisions have the same error rate, so the rollout should succeed."""
    both = Revision(errors=errors)
    return _good(f"{errors * 100:g} % of requests fail, with both", both, both)


def refusing(refusals: float) -> Scenario:
    """Return a scenario in which both revisions refuse the same share of requests, which the sender causes."""
    both = Revision(refusals=refusals)
    return _good(f"{refusals * 100:g} % of requests are refused, by both", both, both)


def varying(cv: float) -> Scenario:
    """Return a scenario in which the prediction times of both revisions have the same distribution.

    `cv` is their standard deviation divided by their mean.
    """
    both = Revision(cv=cv)
    return _good(f"equal times, standard deviation {cv:g} times the mean", both, both)


def _good(name: str, old: Revision, new: Revision) -> Scenario:
    return Scenario(name=name, old=old, new=new, least_done=0.9, most_back=FALSE_ALARMS)


def _bad(name: str, old: Revision, new: Revision) -> Scenario:
    return Scenario(name=name, old=old, new=new, least_back=0.95)


def burst(usual: float, start_s: float, length_s: float, errors: float = 1.0) -> Callable[[float], float]:
    """Return a function from seconds since the start to an error rate: `errors` in the burst, else `usual`."""
    return lambda at_s: errors if start_s <= at_s < start_s + length_s else usual


USUAL = Revision(errors=0.001)
FAILS_20_TIMES_AS_OFTEN = _bad("0.1 % of requests fail, then 2 %", USUAL, Revision(errors=0.02))
REFUSES_10_PERCENT = _bad("0 % are refused, then 10 %", Revision(), Revision(refusals=0.1))
BLIP = Scenario(
    name="equal, but all requests of the new one fail for 15 s",
    old=USUAL,
    new=Revision(errors=burst(0.001, BLIP_AT_S, 15)),
    most_back=FALSE_ALARMS,
)
_STORM = Revision(errors=burst(0.001, 60, 600, 0.1))
SCENARIOS = (
    *map(equal, (0.0, 0.001, 0.005, 0.01)),
    FAILS_20_TIMES_AS_OFTEN,
    _bad("0.1 %, then 5 %", USUAL, Revision(errors=0.05)),
    _bad("0.1 %, then all", USUAL, Revision(errors=1.0)),
    Scenario(name="0 %, then 0.5 %: half of what is allowed", old=Revision(), new=Revision(errors=0.005)),
    Scenario(
        name="1 %, then 2 %: just not allowed", old=Revision(errors=0.01), new=Revision(errors=0.02), most_done=0.05
    ),
    BLIP,
    Scenario(name="equal, 10 % fail with both for 10 minutes", old=_STORM, new=_STORM, most_back=FALSE_ALARMS),
    *map(refusing, (0.001, 0.05, 0.5)),
    _bad("0 % are refused, then 2 %", Revision(), Revision(refusals=0.02)),
    REFUSES_10_PERCENT,
    _bad("5 %, then 10 %: twice as many", Revision(refusals=0.05), Revision(refusals=0.1)),
    *map(varying, (1.0, 2.0)),
    _good("times 1.2 times as long", Revision(cv=1.0), Revision(cv=1.0, ms=120.0)),
    _bad("times twice as long", Revision(cv=1.0), Revision(cv=1.0, ms=200.0)),
)

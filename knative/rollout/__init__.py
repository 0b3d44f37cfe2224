"""Rollouts: a new revision gets its share of the requests step by step, by a person's word or by itself, and back.

A deploy makes a revision at 0 %; only this package writes `spec.traffic`. Where a rollout stands is an annotation of
the Service, so whoever comes next goes on with it: there is no operator.

    tally, windows            what replicas have counted, added up
    state, traffic            values
    record                    the state as an annotation
    exposition, observation   what one replica says, and how it is asked
    sequential                statistical tests that may be read after every request
    verdict                   what a judge says; `error_rate` and `latency` are the two judges
    judgement                 what to do next, a pure function of their verdicts
    standing, plan            how things stand, and what is to be; pure
    pinning                   whether the newest revision's container image is on every node
    exchange                  reading and writing a Service
    steering, automatic       the calls: `set_percent`, `promote`, `rollback`, `pin`; `begin`, `advance`
    gitops                    the same in a file

What it must never do: touch anything of a Service but `spec.traffic` and its own annotation, fight whoever else sets
the shares, or promote what nobody has seen answer.
"""

from knative.rollout.automatic import advance_rollout, begin_rollout
from knative.rollout.exchange import RolloutOutcome
from knative.rollout.standing import RolloutStatus, parse_rollout_status
from knative.rollout.state import RolloutPhase, RolloutState
from knative.rollout.steering import pin, promote, rollback, set_percent

__all__ = [
    "RolloutOutcome",
    "RolloutPhase",
    "RolloutState",
    "RolloutStatus",
    "advance_rollout",
    "begin_rollout",
    "parse_rollout_status",
    "pin",
    "promote",
    "rollback",
    "set_percent",
]

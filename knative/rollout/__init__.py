"""Rollouts: a new revision gets its share of the requests step by step, by a person's word or by itself, and back.

A deploy makes a revision at 0 %; only this package writes `spec.traffic`. The rollout's state is an annotation of the
Service, so any later command continues it: there is no operator.

    rollout_state, traffic    values: the state that is kept, the shares of revisions
    annotation                the state as an annotation
    rollout_status, plan      what a Service says of its revisions, and what is to be; pure
    metrics/                  what pods have counted, read and added up
    analysis/                 what the counters say about the new revision; pure
    pinning                   whether the newest revision's container image is on every node
    service_store             reading and writing a Service
    commands, automatic       the calls: `set_percent`, `promote`, `rollback`, `pin`; `begin`, `advance`

What it must never do: touch anything of a Service but `spec.traffic` and its own annotation, fight whoever else sets
the shares, or promote what nobody has seen answer.
"""

from knative.rollout.automatic import advance_rollout, begin_rollout
from knative.rollout.commands import pin, promote, rollback, set_percent
from knative.rollout.rollout_state import RolloutPhase, RolloutState
from knative.rollout.rollout_status import RolloutStatus, parse_rollout_status
from knative.rollout.service_store import RolloutOutcome

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

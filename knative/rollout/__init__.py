"""Rollouts: a new revision gets its traffic in steps, on a user's command or automatically, and can be rolled back.

A deploy makes a revision at 0 %; only this package writes `spec.traffic`. The rollout's state is an annotation of the
Service, so any later command continues it: there is no operator.

    rollout_state, traffic    values: the state that is stored, and the traffic of revisions
    annotation                the state as JSON of an annotation
    rollout_status, plan      the status of a Service, and the next state and traffic; pure
    metrics/                  requests that pods have counted, read and added up
    analysis/                 assessment of the new revision by those counters; pure
    pinning                   whether the newest revision's container image is on every node
    service_store             reads and writes a Service
    commands, automatic       the entry points: `set_percent`, `promote`, `rollback`, `pin`; `begin`, `advance`

This package must never change a field of a Service except `spec.traffic` and its own annotation, overwrite traffic that
another manager sets, or promote a revision that has not answered requests.
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

"""Rollouts: a new revision gets its traffic in steps, on a user's command or automatically, and can be rolled back.

A deploy makes a revision at 0 %; only this package writes `spec.traffic`. The rollout's state is an annotation of the
Service, so any later command continues it: there is no operator.

    counters           requests that pods have counted, added up; pure
    sequential_tests   statistical tests that may be repeated after every request; pure
    judges             assessment of the new revision by errors, refusals and latency; pure
    state              the state as JSON of an annotation, and the traffic of revisions, as a Service has both; pure
    plan               the next action, and the next state and traffic that follow; pure
    observation        reads the counters of pods, and whether the newest revision's container image is on every node
    service            reads and writes a Service: `set_percent`, `promote`, `rollback`; `begin`, `advance`

This package must never change a field of a Service except `spec.traffic` and its own annotation, overwrite traffic that
another manager sets, or promote a revision that has not answered requests.
"""

from knative.rollout.service import (
    RolloutOutcome,
    advance_rollout,
    begin_rollout,
    fix_traffic,
    promote,
    rollback,
    set_percent,
)
from knative.rollout.state import RolloutPhase, RolloutState, RolloutStatus, parse_rollout_status

__all__ = [
    "RolloutOutcome",
    "RolloutPhase",
    "RolloutState",
    "RolloutStatus",
    "advance_rollout",
    "begin_rollout",
    "fix_traffic",
    "parse_rollout_status",
    "promote",
    "rollback",
    "set_percent",
]

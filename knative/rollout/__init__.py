"""Rollouts: a new revision gets its traffic in steps, on a user's command or automatically, and can be rolled back.

A deploy makes a revision at 0 %; only this package writes `spec.traffic`. The rollout's state is an annotation of the
Service, so any later command continues it: there is no operator.

    observation   reads the counters of pods, and whether the newest revision's container image is on every node
    service       reads and writes a Service: `set_percent`, `promote`, `rollback`; `begin`, `advance`

What is decided, and from which counters, is in `eaves.rollout`, for every platform.

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
    store_audit,
)

__all__ = [
    "RolloutOutcome",
    "advance_rollout",
    "begin_rollout",
    "fix_traffic",
    "promote",
    "rollback",
    "set_percent",
    "store_audit",
]

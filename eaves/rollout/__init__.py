"""Rollouts on every platform: two revisions of a function are compared, and the new one gets its requests in steps.

A platform observes both revisions, has the next action decided, and carries out the plan that follows. Nothing here
knows where revisions run: on one machine `eaves.local.rollouts` does that, in a cluster `knative.rollout`.

    settings           the section `rollout` of eaves.yaml
    counters           requests that replicas have counted, added up
    function_metrics   a function's metrics page as such counters
    sequential_tests   statistical tests that may be repeated after every request
    judges             assessment of the new revision by errors, refusals, latency and labels
    state              the state of a rollout, as JSON, and as people see it
    plan               the next action, and the next state and traffic that follow

Everything is pure: this package must never read a clock, a file or a network.
"""

from eaves.rollout.settings import RolloutSettings
from eaves.rollout.state import AuditCounts, RolloutPhase, RolloutReport, RolloutState, RolloutStatus

__all__ = ["AuditCounts", "RolloutPhase", "RolloutReport", "RolloutSettings", "RolloutState", "RolloutStatus"]

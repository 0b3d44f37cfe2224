"""Cold starts of a function on Knative, measured phase by phase: `eaves doctor --cold-start` and `bench.knative`.

    target        a Knative Service as it is deployed: its revision, address and limits
    observer      pods and Events of a namespace, with the time at which each change arrived here
    timeline      changes > the ends of the phases before the function's process
    measurement   waits until nothing runs, sends one request, and observes the start
    hints         summaries > what shortens the longest phases

A request is an image without an event, so no prediction is delivered to subscribers. This package must never start a
measurement while replicas run, change an object, or delete a pod to get to zero. It doesn't compare clocks: Kubernetes'
timestamps have whole seconds, and a node's clock may differ, so times are those at which a watch reports changes.
"""

from knative.cold_start.hints import find_hints
from knative.cold_start.measurement import (
    ColdRequest,
    ColdSubject,
    ZeroWait,
    measure_cold_start,
    measure_in_turn,
    require_zero,
    wait_zero,
)
from knative.cold_start.target import ColdTarget, read_target

__all__ = [
    "ColdRequest",
    "ColdSubject",
    "ColdTarget",
    "ZeroWait",
    "find_hints",
    "measure_cold_start",
    "measure_in_turn",
    "read_target",
    "require_zero",
    "wait_zero",
]

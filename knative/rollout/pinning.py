"""Lets a rollout wait until a pin has put the newest revision's container image on every node.

If a revision gets requests earlier, it can't start from zero on a node that hasn't pulled the container image when the
registry can't be reached. A function that was deployed with `knative.pin: no` has no pin, and its rollout doesn't wait.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from eaves.errors import DeniedError, StartError
from knative.client.cluster import Cluster
from knative.client.kinds import DAEMON_SET
from knative.resources.metadata import PIN_ANNOTATION
from knative.rollout.plan import Plan, RolloutAction, RolloutDecision
from knative.rollout.state import RolloutState, RolloutStatus
from knative.status.conditions import image_of
from knative.status.parts import READY, judge_parts

POLL_S = 1.0
"""Seconds between two reads of a pin."""

Manifest = Mapping[str, Any]


def describe_unpinned(cluster: Cluster, service: Manifest) -> str:
    """Describe why the container image of a Service's last deployment isn't on every node yet.

    The text is such as `pinned on 2 of 3 nodes (node edge-3 can't pull the container image ...)`. It is empty when
    every node that the revision may run on has the container image, and for a deployment without a pin.

    Raises:
        ClusterError: When a request to the API server fails. A missing right is described.
    """
    name = (service["metadata"].get("annotations") or {}).get(PIN_ANNOTATION, "")
    if not name:
        return ""
    fault = ""
    try:
        found = cluster.get(DAEMON_SET, name)
    except DeniedError as error:
        found, fault = None, error.message
    if found is None:
        fault = fault or f"the DaemonSet {name} is missing; `eaves deploy` creates it again"
    elif image_of(found) != image_of(service):
        fault = f"the DaemonSet {name} has another container image: {image_of(found)}"
    if found is None or fault:
        return f"not pinned as far as known: {fault}"
    (part,) = judge_parts(cluster, [found], now=cluster.clock())
    if part.state == READY:
        return ""
    ready, _, wanted = part.pods.partition("/")
    counted = f"pinned on {ready} of {wanted} nodes" if wanted else "not pinned"
    return counted if ready != wanted and not part.cause else f"{counted} ({part.reason})"


def hold_unpinned(
    cluster: Cluster, service: Manifest, state: RolloutState, decision: RolloutDecision, now: float
) -> RolloutDecision:
    """Change a rollout's decision to waiting while the new revision isn't pinned, and to holding after the deadline.

    Only decisions that would raise the new revision's share are changed.

    Args:
        cluster: Connection to the cluster.
        service: The Knative Service.
        state: State of the rollout.
        decision: Decision of `knative.rollout.plan`.
        now: Unix time in seconds.

    Raises:
        ClusterError: When a request to the API server fails.
    """
    if decision.action not in (RolloutAction.ADVANCE, RolloutAction.FINISH) or not state.old:
        return decision  # before the first revision nothing serves, so waiting would be useless
    unpinned = describe_unpinned(cluster, service)
    if not unpinned:
        return decision
    elapsed_s = max(0.0, now - state.since)
    if elapsed_s >= state.settings.deadline_s:
        reason = f"after {elapsed_s:.0f} s the container image of {state.new} is {unpinned}"
        return RolloutDecision(RolloutAction.HOLD, 0, reason)
    reason = f"{state.new} waits until its container image is on every node; it is {unpinned}"
    return RolloutDecision(RolloutAction.WAIT, state.percent, reason)


def require_pinned(cluster: Cluster, service: Manifest, standing: RolloutStatus, plan: Plan, *, wait_s: float) -> None:
    """Raise an error if a plan raises the newest revision's share and the revision isn't pinned on every node in time.

    Args:
        cluster: Connection to the cluster.
        service: The Knative Service.
        standing: Status of the rollout, as the Service has it.
        plan: Plan that is about to be written.
        wait_s: Seconds to wait for the pin.

    Raises:
        StartError: When the revision isn't pinned in that time.
        ClusterError: When a request to the API server fails.
    """
    new, until = standing.newest, time.monotonic() + wait_s
    more = plan.traffic is not None and plan.traffic.get(new, 0) > standing.shares.get(new, 0)
    while more and plan.state.old and (unpinned := describe_unpinned(cluster, service)):
        if time.monotonic() >= until:
            raise StartError(
                f"{new} gets no share of requests before its container image is on every node that it may run on; "
                f"it is {unpinned}",
                hint="try again after the nodes have pulled the container image; or use --unpinned, with which "
                "the function may fail to start on a node while the registry is unreachable",
            )
        time.sleep(POLL_S)

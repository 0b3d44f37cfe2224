"""Lets a rollout wait until a pin has put the newest revision's container image on every node.

If a revision gets requests earlier, it can't start from zero on a node that hasn't pulled the container image when the
registry can't be reached. A function that was deployed with `knative.pin: no` has no pin, and its rollout doesn't wait.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eaves.errors import DeniedError, StartError
from knative.client.kinds import DAEMON_SET, POD
from knative.resources.metadata import PART_LABEL, PIN_ANNOTATION, PIN_LABEL
from knative.resources.pin import PART
from knative.rollout.decision import RolloutAction, RolloutDecision
from knative.rollout.plan import Plan
from knative.rollout.state import RolloutState
from knative.rollout.status import parse_rollout_status

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

POLL_S = 1.0
"""Seconds between two reads of a pin."""
MAX_TEXT = 160
"""Maximum characters of a kubelet's message that a reason quotes."""

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PinStatus:
    """The progress of pinning a container image.

    Attributes:
        nodes: Number of nodes that must have the container image.
        ready: Number of nodes where the pin's pod is ready.
        fault: Reason why the container image isn't on every node, in addition to the numbers; empty when the numbers
            explain it.
    """

    nodes: int = 0
    ready: int = 0
    fault: str = ""

    @property
    def complete(self) -> bool:
        """Whether every node that the revision may run on has the container image; also true without any such node."""
        return not self.fault and self.ready >= self.nodes

    def render(self) -> str:
        """Render the status for people, such as `pinned on 2 of 3 nodes (edge-3: ImagePullBackOff)`."""
        if self.fault and not self.nodes:
            return f"not pinned as far as known: {self.fault}"
        counted = f"pinned on {self.ready} of {self.nodes} nodes"
        return f"{counted} ({self.fault})" if self.fault else counted


def read_pin(cluster: Cluster, service: Manifest) -> PinStatus | None:
    """Read the pin of a Service's last deployment; return None when that deployment has no pin.

    Args:
        cluster: Connection to the cluster.
        service: The Knative Service.

    Raises:
        ClusterError: When a request to the API server fails. A missing right is reported in the status.
    """
    name = (service["metadata"].get("annotations") or {}).get(PIN_ANNOTATION, "")
    if not name:
        return None
    try:
        found = cluster.get(DAEMON_SET, name)
    except DeniedError as error:
        return PinStatus(fault=error.message)
    if found is None:
        return PinStatus(fault=f"the DaemonSet {name} is missing; `eaves deploy` creates it again")
    status = parse_pin(found, _image(service))
    if status.complete or status.fault:
        return status
    return replace(status, fault=_explain(cluster, found))


def parse_pin(pin: Manifest, image: str) -> PinStatus:
    """Parse the status of a pin from its DaemonSet.

    Source: Kubernetes, apps/v1 DaemonSetStatus.

    Args:
        pin: The DaemonSet.
        image: Container image that the pin must hold.
    """
    metadata, status = pin["metadata"], pin.get("status") or {}
    name, nodes = metadata["name"], int(status.get("desiredNumberScheduled") or 0)
    # Pods of an earlier template differ only in the pull secret, but they may have been pulled with it.
    current = min(int(status.get("numberReady") or 0), int(status.get("updatedNumberScheduled") or 0))
    if (held := _image({"spec": pin["spec"]})) != image:
        return PinStatus(nodes=nodes, fault=f"the DaemonSet {name} has another container image: {held}")
    if int(status.get("observedGeneration") or 0) < int(metadata.get("generation") or 0):
        return PinStatus(nodes=nodes, fault="Kubernetes has not processed its DaemonSet yet")
    return PinStatus(nodes=nodes, ready=current)


def hold_unpinned(
    cluster: Cluster, service: Manifest, state: RolloutState, decision: RolloutDecision, now: float
) -> RolloutDecision:
    """Change a rollout's decision to waiting while the new revision isn't pinned, and to holding after the deadline.

    Only decisions that would raise the new revision's share are changed.

    Args:
        cluster: Connection to the cluster.
        service: The Knative Service.
        state: State of the rollout.
        decision: Decision of `knative.rollout.decision`.
        now: Unix time in seconds.

    Raises:
        ClusterError: When a request to the API server fails.
    """
    if decision.verb not in (RolloutAction.ADVANCE, RolloutAction.FINISH) or not state.old:
        return decision  # before the first revision nothing serves, so waiting would be useless
    pin = read_pin(cluster, service)
    if pin is None or pin.complete:
        return decision
    elapsed_s = max(0.0, now - state.since)
    late = elapsed_s >= state.settings.deadline_s
    text = (
        f"after {elapsed_s:.0f} s the container image of {state.new} is"
        if late
        else (f"{state.new} waits until its container image is on every node; it is")
    )
    return replace(
        decision,
        verb=RolloutAction.HOLD if late else RolloutAction.WAIT,
        percent=0 if late else state.percent,
        reason=f"{text} {pin.render()}",
    )


def require_pinned(cluster: Cluster, service: Manifest, plan: Plan, *, wait_s: float) -> None:
    """Raise an error if a plan raises the newest revision's share and the revision isn't pinned on every node in time.

    Args:
        cluster: Connection to the cluster.
        service: The Knative Service.
        plan: Plan that is about to be written.
        wait_s: Seconds to wait for the pin.

    Raises:
        StartError: When the revision isn't pinned in that time.
        ClusterError: When a request to the API server fails.
    """
    standing, until = parse_rollout_status(service), time.monotonic() + wait_s
    new = standing.newest
    more = plan.traffic is not None and plan.traffic.get(new, 0) > standing.shares.get(new, 0)
    if not more or not plan.state.old:
        return
    while (pin := read_pin(cluster, service)) is not None and not pin.complete:
        if time.monotonic() >= until:
            raise StartError(
                f"{new} gets no share of requests before its container image is on every node that it may run on; "
                f"it is {pin.render()}",
                hint="try again after the nodes have pulled the container image; or use --unpinned, with which "
                "the function may fail to start on a node while the registry is unreachable",
            )
        time.sleep(POLL_S)


def _explain(cluster: Cluster, pin: Manifest) -> str:
    """Return which nodes haven't pulled the container image, and why; empty when the user may not list pods."""
    key = (pin["metadata"].get("labels") or {}).get(PIN_LABEL, "")
    try:
        pods = cluster.list(POD, selector=f"{PART_LABEL}={PART},{PIN_LABEL}={key}")
    except DeniedError:
        return ""
    lacking = sorted(_lack(pod) for pod in pods if not _is_ready(pod))
    more = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return f"{lacking[0]}{more}" if lacking else ""


def _lack(pod: Manifest) -> str:
    node = str(pod.get("spec", {}).get("nodeName") or "no node")
    for container in pod.get("status", {}).get("containerStatuses") or ():
        if waiting := (container.get("state") or {}).get("waiting"):
            text = ": ".join(str(waiting[key]) for key in ("reason", "message") if waiting.get(key))
            return f"{node}: {text[:MAX_TEXT]}"
    return f"{node}: its pod {pod['metadata']['name']} isn't ready"


def _is_ready(pod: Manifest) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _image(owner: Manifest) -> str:
    """Return the container image in the pod template of an object."""
    return str(owner["spec"]["template"]["spec"]["containers"][0].get("image", ""))

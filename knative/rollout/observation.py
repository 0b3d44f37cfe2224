"""What a rollout reads of its cluster: the counters of its revisions' pods, and whether a pin is on every node.

No metrics system is needed, since each agent counts its requests by revision (`eaves.spool.outcomes`), each function
those of other senders (`functions.metrics`), and the API server reaches every pod. Pods that can't be read are reported
as such; their counts are never estimated.

A rollout waits until a pin has put the newest revision's container image on every node. If the revision got requests
earlier, it couldn't start from zero on a node that hasn't pulled the container image when the registry can't be
reached. A function that was deployed with `knative.pin: no` has no pin, and its rollout doesn't wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from eaves.admin.report import RUNNING
from eaves.errors import ClusterError, ConflictError, DeniedError, InvalidError, StartError
from eaves.rollout.counters import MetricsReading, RequestCounters
from eaves.rollout.function_metrics import REQUESTS, parse_counters
from eaves.rollout.plan import Plan, RolloutAction, RolloutDecision
from eaves.rollout.state import RolloutState, RolloutStatus
from eaves.spool.outcomes import RevisionOutcomes
from knative.client.cluster import Cluster
from knative.client.kinds import DAEMON_SET, POD, Object, annotations_of, spec_of, status_of
from knative.inventory import read_inventory
from knative.resources.agent import CONTAINER
from knative.resources.function import PORT
from knative.resources.metadata import PIN_ANNOTATION, AppOwner, labels_of
from knative.status.conditions import REVISION_LABEL, SIDECAR, containers, find_ended_state, image_of, is_alive, name_of
from knative.status.parts import READY, judge_parts
from knative.status.pods import read_permitted
from knative.status.site_status import AgentPod, list_agent_pods, read_agents

TIMEOUT_S = 5.0
"""Maximum seconds to read one pod. A pod that doesn't answer is read again with the next scrape."""
AT_ONCE = 8
"""Number of pods that are read at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsScrape:
    """The readings of all pods of a rollout's revisions at one moment.

    Attributes:
        readings: Readings of the pods that could be read.
        present: Names of all existing pods; None when they can't be listed.
        unread: Pods that should have answered, with the reason.
    """

    readings: tuple[MetricsReading, ...] = ()
    present: tuple[str, ...] | None = ()
    unread: Mapping[str, str] = field(default_factory=dict)


def scrape_metrics(cluster: Cluster, revisions: Iterable[str]) -> MetricsScrape:
    """Read the metrics of every pod of some revisions."""
    wanted = ",".join(sorted(filter(None, revisions)))
    try:
        pods = cluster.list(POD, selector=f"{REVISION_LABEL} in ({wanted})")
    except DeniedError as error:
        return MetricsScrape(present=None, unread={"all": error.message})
    running = [pod for pod in pods if status_of(pod).get("phase") == "Running"]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="metrics") as threads:
        found = list(threads.map(lambda pod: _read_pod(cluster, pod), running))
    unread = {
        name_of(pod): one for pod, one in zip(running, found, strict=True) if isinstance(one, str) and is_alive(pod)
    }
    return MetricsScrape(
        readings=tuple(one for one in found if isinstance(one, MetricsReading)),
        present=tuple(map(name_of, pods)),
        unread=unread,
    )


def read_senders(cluster: Cluster, name: str, revisions: Iterable[str]) -> MetricsScrape:
    """Read what the agents of a function have counted of its revisions. An agent that isn't ready sends nothing.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        name: Name of the function.
        revisions: Names of the revisions.
    """
    readings: list[MetricsReading] = []
    unread: dict[str, str] = {}
    try:
        spaces = {item.namespace for item in read_inventory(cluster, name).items} - {"", cluster.namespace}
        owner = AppOwner(app=name, agents=min(spaces, default=""))
        found = list_agent_pods(cluster, owner, all_namespaces=True)
    except (DeniedError, ConflictError, InvalidError) as error:
        unread["agents"] = error.message
        found = read_permitted(lambda: list_agent_pods(cluster, AppOwner(app=name)), list[AgentPod]())
    pods = [pod for pod in found if pod.ready and pod.container == CONTAINER]
    for pod, report in zip(pods, read_agents(cluster, pods), strict=True):
        if report.state != RUNNING:
            unread[pod.name] = report.reason
        known = {one.revision: one for one in report.outcomes}
        for revision in filter(None, revisions if report.spool_id else ()):
            one = known.get(revision, RevisionOutcomes(revision=revision))
            tally = RequestCounters(answered=one.answered, failed=one.failed, refused=one.refused)
            readings.append(MetricsReading(pod=f"{report.spool_id}/{revision}", revision=revision, tally=tally))
    return MetricsScrape(readings=tuple(readings), unread=unread)


def _read_pod(cluster: Cluster, pod: Object) -> MetricsReading | str:
    """Read the metrics of one pod; return the reading, or the reason why there is none."""
    try:
        answer = cluster.ask_pod(name_of(pod), PORT, "/metrics", timeout_s=TIMEOUT_S)
    except ClusterError as error:
        return error.message
    if answer.status != 200:
        return f"/metrics answered {answer.status}"
    text = answer.body.decode(errors="replace")
    if REQUESTS not in text:
        return "/metrics has no counters of requests: the pod is not a function of Eaves"
    restarts, crashed = _count_restarts(pod)
    tally, slowest = parse_counters(text)
    return MetricsReading(
        pod=name_of(pod),
        revision=labels_of(pod).get(REVISION_LABEL, ""),
        node=str(spec_of(pod).get("nodeName") or ""),
        restarts=restarts,
        crashed=crashed,
        tally=tally,
        slowest=slowest,
    )


def _count_restarts(pod: Object) -> tuple[int, bool]:
    """Return (number of restarts of the function's container, whether its last end was a crash).

    A container that ended with its node has the reason `Unknown`; one that was asked to end has the exit code 0.
    """
    own: Object = next((one for one in containers(pod) if one.get("name") != SIDECAR), {})
    ended = find_ended_state(own)
    return int(own.get("restartCount", 0)), ended.get("exitCode", 0) != 0 and ended.get("reason") != "Unknown"


POLL_S = 1.0
"""Seconds between two reads of a pin."""


def describe_unpinned(cluster: Cluster, service: Object) -> str:
    """Describe why the container image of a Service's last deployment isn't on every node yet.

    The text is such as `pinned on 2 of 3 nodes (node edge-3 can't pull the container image ...)`. It is empty when
    every node that the revision may run on and that is ready has the container image, and without a pin.
    """
    name = annotations_of(service).get(PIN_ANNOTATION, "")
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
    cluster: Cluster, service: Object, state: RolloutState, decision: RolloutDecision, now: float
) -> RolloutDecision:
    """Change a rollout's decision to waiting while the new revision isn't pinned, and to holding after the deadline.

    Only decisions that would raise the new revision's share are changed.

    Args:
        decision: Decision of `eaves.rollout.plan`.
    """
    if decision.action not in (RolloutAction.ADVANCE, RolloutAction.FINISH) or not state.old:
        return decision  # before the first revision nothing serves, so waiting would be useless
    unpinned = describe_unpinned(cluster, service)
    if not unpinned:
        return decision
    elapsed_s = max(0.0, now - state.since)
    if elapsed_s >= state.settings.deadline_s:
        reason = f"after {elapsed_s:.0f} s the container image of {state.new} is {unpinned}"
        return RolloutDecision(RolloutAction.HOLD, 0, reason, resumes=True)
    reason = f"{state.new} waits until its container image is on every node; it is {unpinned}"
    return RolloutDecision(RolloutAction.WAIT, state.percent, reason)


def require_pinned(cluster: Cluster, service: Object, standing: RolloutStatus, plan: Plan, *, wait_s: float) -> None:
    """Raise an error if a plan raises the newest revision's share and the revision isn't pinned on every node in time.

    Args:
        standing: Status of the rollout, as the Service has it.
        plan: Plan that is about to be written.
        wait_s: Seconds to wait for the pin.
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

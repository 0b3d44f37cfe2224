"""The retry of images that a revision refused before it lost all requests, at the agents of its function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from eaves.admin.queue import DEAD, Action, Selector
from eaves.errors import ConflictError, DeniedError, EavesError
from eaves.problem_document import revision_mark
from knative.client.cluster import Cluster
from knative.inventory import read_inventory
from knative.resources.agent import CONTAINER
from knative.resources.metadata import AppOwner
from knative.rollout.service import forget_retries, read_service
from knative.rollout.state import RolloutState, parse_rollout_status
from knative.status.readiness import wait_routed
from knative.status.site_status import AT_ONCE, AgentPod, Kubectl, PodQueue, list_agent_pods

LATE_S = 60.0
"""Seconds after a change of shares for which the agents are asked again, since a request that the replaced revision
had already got is refused after the first time."""


def retry_refused(cluster: Cluster, owner: AppOwner, kubectl: Kubectl) -> str:
    """Queue the images that replaced revisions refused again, at each agent of a function; return what was done.

    The images are queued after the gateway sends all requests to the revision that serves. An error is described in the
    returned text, which is empty when there is nothing to report: the command that changed the shares has succeeded.

    Args:
        cluster: Connection to the site's cluster.
        owner: The function's app, with the namespace of its agents on nodes.
        kubectl: The program kubectl and its options for the cluster.
    """
    try:
        state = parse_rollout_status(read_service(cluster, owner.app)).state
        if state is None or not state.to_retry:
            return ""
        return _retry(cluster, owner, kubectl, state)
    except EavesError as error:
        return f"refused images can't be queued again yet: {error.message}"


def _retry(cluster: Cluster, owner: AppOwner, kubectl: Kubectl, state: RolloutState) -> str:
    routed = wait_routed(cluster, owner.app)
    elsewhere = any(item.namespace == owner.agents for item in read_inventory(cluster, owner.app).items)
    faults: list[str] = []
    try:
        pods = list_agent_pods(cluster, owner, all_namespaces=elsewhere)
    except DeniedError as error:
        pods, faults = list_agent_pods(cluster, owner), [error.message]
    pods = [one for one in pods if one.container == CONTAINER]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="retry") as threads:
        answers = list(threads.map(lambda pod: _ask(kubectl, pod, state.to_retry), pods))
    faults += [answer for answer in answers if isinstance(answer, str)]
    count = sum(answer for answer in answers if isinstance(answer, int))
    if routed and not faults and cluster.clock() - state.since >= LATE_S:
        with suppress(ConflictError):  # a later command does it
            forget_retries(cluster, owner.app, state.to_retry)
    return "; ".join(_describe(state.to_retry, count, faults))


def _ask(kubectl: Kubectl, pod: AgentPod, revisions: Sequence[str]) -> int | str:
    """Queue the images that revisions refused again at one agent; return their number, or why it can't be asked."""
    if not pod.ready:
        return f"{pod.name} isn't ready"
    queue = PodQueue(kubectl, pod.namespace, pod.name, container=pod.container)
    try:
        chosen = [Selector(state=DEAD, reason=revision_mark(revision)) for revision in revisions]
        return sum(queue.change(Action.RETRY, one).entries for one in chosen)
    except EavesError as error:
        return error.message


def _describe(revisions: Sequence[str], count: int, faults: Sequence[str]) -> Iterator[str]:
    names = ", ".join(revisions)
    if count:
        yield f"{count:,} {'image is' if count == 1 else 'images are'} queued again, which {names} refused"
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        commands = " and ".join(f"eaves queue retry --dead --reason '{revision_mark(one)}'" for one in revisions)
        yield (
            f"images that {names} refused are not queued again everywhere yet ({faults[0]}{more}); "
            f"`eaves reconcile` does it later, or use `{commands}`"
        )

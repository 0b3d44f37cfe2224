"""The queue of an agent in a pod, read and changed by `kubectl exec`, which runs Eaves' queue command in the pod."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eaves.admin.queue import DEAD, Action, RemoteQueue, Selector, raise_refusal
from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError, ConflictError, DeniedError, EavesError
from eaves.web.problem_document import revision_mark
from knative.deploy.inventory import read_inventory
from knative.deploy.ownership import AppOwner
from knative.readiness.wait import wait_routed
from knative.resources.agent import CONTAINER
from knative.rollout import RolloutState, parse_rollout_status
from knative.rollout.service import forget_retries, read_service
from knative.status.agents import AT_ONCE, AgentPod, list_agent_pods

if TYPE_CHECKING:
    from knative.client.cluster import Cluster


MODULE = ("python", "-P", "-m", "eaves.sources.queue")
TIMEOUT_S = 120.0
"""Maximum seconds for one command; purging a million entries takes about a minute."""
ROLE_HINT = "the permission to create pods/exec is missing; examples/roles/queues.yaml grants it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """The program kubectl and the options by which it connects to the cluster.

    Attributes:
        program: Name or path of kubectl.
        kubeconfig: The kubeconfig, or several with `:` between them; None leaves the choice to kubectl.
        context: Context of the kubeconfig; empty means the current one.
    """

    program: str = "kubectl"
    kubeconfig: Path | None = None
    context: str = ""

    def build_exec(self, namespace: str, pod: str, command: Sequence[str], *, container: str = CONTAINER) -> list[str]:
        """Build the command line that runs a command in a container, which is the agent's by default."""
        variables = ["env", f"KUBECONFIG={self.kubeconfig}"] if self.kubeconfig is not None else []
        context = ["--context", self.context] if self.context else []
        where = ["--namespace", namespace, "exec", pod, "--container", container, "--"]
        return [*variables, self.program, *context, *where, *command]


class PodQueue(RemoteQueue):
    """The queue of the agent of one pod.

    A request raises ClusterError when kubectl isn't installed or can't run the command in the pod, and DeniedError when
    the current user may not run commands there.

    Args:
        kubectl: The program kubectl and its options for the cluster.
        namespace: Namespace of the pod.
        pod: Name of the pod.
        container: Container with the queue.
    """

    def __init__(self, kubectl: Kubectl, namespace: str, pod: str, *, container: str = CONTAINER) -> None:
        super().__init__(pod)
        self._kubectl = kubectl
        self._build = partial(kubectl.build_exec, namespace, pod, container=container)

    def _send(self, request: str) -> bytes:
        command = self._build([*MODULE, request])
        shown = shlex.join(command)
        if shutil.which(self._kubectl.program) is None:
            raise ClusterError(
                f"{self._kubectl.program} is not installed on this machine, and reading the queue of {self._name} "
                "needs it",
                hint=f"install {self._kubectl.program}, or run this command on a machine that has it: {shown}",
            )
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{self._name} did not answer within {TIMEOUT_S:g} s", hint=shown) from error
        if done.returncode == 0:
            return done.stdout
        if done.stdout.strip():  # the command ran in the pod, and answered with a problem document
            raise_refusal(done.stdout, name=self._name)
        stderr = done.stderr.decode(errors="replace")
        denied = "forbidden" in stderr.lower()
        kind = DeniedError if denied else ClusterError
        raise kind(f"{self._name}: kubectl exec failed: {shorten(stderr)}", hint=ROLE_HINT if denied else shown)


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

"""The agents, publishers and relays of a site: their pods, the reports of their sources and queues, and their logs.

An agent serves its report at its metrics port; the API server connects to that port. Agents that can't be read are
reported as such; their numbers are never estimated.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from eaves.admin.queue import RemoteQueue, raise_refusal
from eaves.admin.report import HEALTH, QueueReport, describe_silent, from_json
from eaves.delivery.response_rules import shorten
from eaves.errors import AbsentError, ClusterError, DeniedError, InvalidError, NotFoundError
from knative.client.cluster import Cluster
from knative.client.kinds import POD
from knative.resources.agent import CONTAINER, PART
from knative.resources.app_servers import PUBLISHER_PART, RELAY_PART
from knative.resources.metadata import APP_LABEL, OURS, PART_LABEL, AppOwner, labels_of
from knative.resources.workload import METRICS_PORT
from knative.status.conditions import condition, name_of
from knative.status.parts import agent_of

REPORT_TIMEOUT_S = 5.0
"""Maximum seconds for one agent's answer."""
AT_ONCE = 8
"""Number of agents that are read at the same time."""
ALL = "agent"
"""Name that stands for all agents of a function in a command, as in `eaves logs flowers.agent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPod:
    """A pod with a queue: it runs a source, publishes a trigger's events, or is a relay.

    Attributes:
        app: Function that the pod belongs to.
        agent: Name of the agent in commands: `FUNCTION.SOURCE`, `FUNCTION.TRIGGER-mqtt` or `FUNCTION.relay`.
        name: Name of the pod.
        container: Container with the queue.
        namespace: Namespace of the pod.
        phase: Phase of the pod, such as `Running`. Source: Kubernetes, PodStatus.
        ready: Whether the pod runs and doesn't report that it isn't ready, as a pod on a node that is off does.
    """

    app: str
    agent: str
    name: str
    namespace: str
    phase: str
    ready: bool = True
    container: str = CONTAINER


def list_agent_pods(cluster: Cluster, owner: AppOwner, *, all_namespaces: bool = False) -> list[AgentPod]:
    """List every pod with a queue, including those on nodes if the user may see them, sorted by agent and name.

    Args:
        cluster: Connection to the site's cluster.
        owner: The site, and the namespace of its agents on nodes; an app limits the list to that app.
        all_namespaces: Whether it is an error that the user may not list the pods on nodes.

    Raises:
        DeniedError: When the user may not list the pods.
        ClusterError: When a request to the cluster is refused or fails.
    """
    ours = f"{OURS},{PART_LABEL} in ({PART},{PUBLISHER_PART},{RELAY_PART})"
    ours += f",{APP_LABEL}={owner.app}" if owner.app else ""
    found = cluster.list(POD, selector=ours)
    if owner.agents and owner.agents != cluster.namespace:
        # A user who may not list that namespace gets the other agents. It may hold pods of other owners.
        with nullcontext() if all_namespaces else suppress(DeniedError):
            there = cluster.list(POD, namespace=owner.agents, selector=ours)
            found += [pod for pod in there if owner.has_agent(pod, cluster.namespace)]
    return sorted(map(_describe, found), key=lambda pod: (pod.agent, pod.name))


def read_agents(cluster: Cluster, pods: Sequence[AgentPod]) -> list[QueueReport]:
    """Read the reports of agents from their pods, in the order of the pods."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="agents") as threads:
        return list(threads.map(lambda pod: _read(cluster, pod), pods))


def read_agent_logs(cluster: Cluster, owner: AppOwner, name: str, *, lines: int) -> list[str]:
    """Read the last log lines of an agent, pod by pod; those of the process before a restart if there are none yet.

    Args:
        cluster: Connection to the site's cluster.
        owner: The function, and the namespace of its agents on nodes.
        name: `FUNCTION.SOURCE`, `FUNCTION.relay` or `FUNCTION.TRIGGER-mqtt` for one agent, `FUNCTION.agent` for all
            agents.
        lines: Maximum number of lines for each pod, and in total.

    Raises:
        NotFoundError: When there is no such agent, or none of its pods has started.
        ClusterError: When a request to the cluster is refused or fails.
    """
    pods = list_agent_pods(cluster, owner)
    chosen = [pod for pod in pods if name in (pod.agent, f"{owner.app}.{ALL}")]
    if not chosen:
        known = ", ".join(dict.fromkeys(pod.agent for pod in pods)) or "none"
        raise NotFoundError(
            f"{name} has no pod in {cluster.namespace} of {cluster.name} (agents with pods: {known})",
            hint="eaves status --on knative",
        )
    return read_logs(cluster, name, [(pod.name, pod.container, pod.namespace) for pod in chosen], lines=lines)


def read_logs(cluster: Cluster, name: str, containers: Sequence[tuple[str, str, str]], *, lines: int) -> list[str]:
    """Read the last log lines of containers; those of the process before a restart if there are none yet.

    Args:
        cluster: Connection to the cluster.
        name: Name of what the containers belong to, for the error.
        containers: Pod, container and namespace of each; at least one.
        lines: Maximum number of lines of each, and in total.

    Raises:
        NotFoundError: When no container has started.
        ClusterError: When a log can't be read.
    """
    found: list[str] = []
    silent: list[ClusterError] = []
    for pod, container, namespace in containers:
        read = partial(cluster.logs, pod, container=container, lines=lines, namespace=namespace)
        try:
            last = read()
        except (AbsentError, InvalidError) as error:  # it has just gone, or hasn't started
            silent.append(error)
            continue
        with suppress(InvalidError):  # there was no earlier run
            last = last or read(previous=True)
        found += last
    if len(silent) == len(containers):
        message = f"{name} has no log lines to show, because no pod has started: {silent[0].message}"
        raise NotFoundError(message, hint="eaves status --on knative")
    return found[-lines:]


def _describe(pod: Mapping[str, Any]) -> AgentPod:
    labels, status = labels_of(pod), pod.get("status", {})
    return AgentPod(
        app=str(labels.get(APP_LABEL, "")),
        agent=agent_of(labels),
        container=part if (part := labels.get(PART_LABEL, "")) != PART else CONTAINER,
        name=name_of(pod),
        namespace=str(pod["metadata"]["namespace"]),
        phase=str(status.get("phase", "Unknown")),
        ready=status.get("phase") == "Running" and condition(pod, "Ready").get("status", "True") == "True",
    )


def _read(cluster: Cluster, pod: AgentPod) -> QueueReport:
    sources = (pod.agent.partition(".")[2],) if pod.container == CONTAINER else ()
    if pod.phase != "Running":
        return describe_silent(pod.agent, sources, pod=pod.name, state=pod.phase.lower())
    try:
        answer = cluster.ask_pod(pod.name, METRICS_PORT, HEALTH, timeout_s=REPORT_TIMEOUT_S, namespace=pod.namespace)
        report = from_json(QueueReport, json.loads(answer.body)["report"])
        return replace(report, name=pod.agent, pod=pod.name)
    except ClusterError as error:
        return describe_silent(pod.agent, sources, pod=pod.name, state="unknown", reason=error.message)
    except (ValueError, KeyError, TypeError):
        answer_text = answer.body[:200].decode(errors="replace")
        reason = f"{HEALTH} answered {answer.status} without a report: {answer_text}"
        return describe_silent(pod.agent, sources, pod=pod.name, state="unknown", reason=reason)


MODULE = ("python", "-P", "-m", "eaves.sources.queue")
TIMEOUT_S = 120.0
"""Maximum seconds for one command; purging a million entries takes about a minute."""
ROLE_HINT = "the permission to create pods/exec is missing; docs/10-knative.md has the Role that grants it"


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

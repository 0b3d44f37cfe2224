"""The status of a site as `eaves status` shows it: functions with the parts of their apps, agents, logs and queues.

An agent, a publisher or a relay serves its report at its metrics port; the API server connects to that port. Agents
that can't be read are reported as such; their numbers are never estimated.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from eaves.admin.queue import RemoteQueue, raise_refusal
from eaves.admin.report import HEALTH, METRICS, QueueReport, describe_silent, from_json
from eaves.base.process_usage import ProcessUsage
from eaves.delivery.response_rules import shorten
from eaves.errors import AbsentError, ClusterError, ConflictError, DeniedError, InvalidError, NotFoundError
from eaves.platform import DeployedStatus, FunctionStatus, PartStatus, PinnedStatus, ServedStatus
from knative.client.cluster import Cluster
from knative.client.kinds import (
    CONFIG_MAP,
    DAEMON_SET,
    KSERVICE,
    POD,
    POD_AUTOSCALER,
    REVISION,
    SINK_BINDING,
    Manifest,
    Object,
    annotations_of,
    status_of,
)
from knative.inventory import DeploymentRecord, ObjectKey, item_kind, read_inventory
from knative.resources.agent import CONTAINER, PART
from knative.resources.eventing import PUBLISHER_PART, RELAY_PART
from knative.resources.function import PORT, is_pin
from knative.resources.metadata import (
    APP_LABEL,
    ARTIFACT_ANNOTATION,
    OURS,
    PART_LABEL,
    SITE_LABEL,
    AppOwner,
    labels_of,
)
from knative.resources.workload import METRICS_PORT
from knative.status.conditions import (
    condition,
    image_of,
    is_ready,
    is_true,
    name_of,
    namespace_of,
    observed,
    parse_time,
)
from knative.status.parts import (
    FAILED,
    MISSING,
    PART_KINDS,
    Key,
    PartReader,
    agent_of,
    broker_of,
    count_pods,
    unknown_part,
)
from knative.status.pods import read_permitted
from knative.status.readiness import read_function
from knative.status.traffic import parse_rollout_status

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
        owner: The function, and the namespace of its agents on nodes.
        name: `FUNCTION.SOURCE`, `FUNCTION.relay` or `FUNCTION.TRIGGER-mqtt` for one agent, `FUNCTION.agent` for all
            agents.
        lines: Maximum number of lines for each pod, and in total.
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
        name: Name of what the containers belong to, for the error.
        containers: Pod, container and namespace of each; at least one.
        lines: Maximum number of lines of each, and in total.
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


def _describe(pod: Object) -> AgentPod:
    labels, status = labels_of(pod), status_of(pod)
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
    silent = partial(describe_silent, pod.agent, sources, pod=pod.name)
    if pod.phase != "Running":
        return silent(state=pod.phase.lower())
    try:
        answer = cluster.ask_pod(pod.name, METRICS_PORT, HEALTH, timeout_s=REPORT_TIMEOUT_S, namespace=pod.namespace)
        report = from_json(QueueReport, json.loads(answer.body)["report"])
    except ClusterError as error:
        return silent(state="unknown", reason=error.message)
    except (ValueError, KeyError, TypeError):
        text = answer.body[:200].decode(errors="replace")
        return silent(state="unknown", reason=f"{HEALTH} answered {answer.status} without a report: {text}")
    return replace(report, name=pod.agent, pod=pod.name)


KUBECTL = "kubectl"
MODULE = ("python", "-P", "-m", "eaves.sources.queue")
TIMEOUT_S = 120.0
"""Maximum seconds for one command; purging a million entries takes about a minute."""
ROLE_HINT = "the permission to create pods/exec is missing; docs/knative.md has the Role that grants it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """The program kubectl and the options by which it connects to the cluster.

    Attributes:
        kubeconfig: The kubeconfig, or several with `:` between them; None leaves the choice to kubectl.
        context: Context of the kubeconfig; empty means the current one.
    """

    kubeconfig: Path | None = None
    context: str = ""

    def build_exec(self, namespace: str, pod: str, command: Sequence[str], *, container: str = CONTAINER) -> list[str]:
        """Build the command line that runs a command in a container, which is the agent's by default."""
        variables = ["env", f"KUBECONFIG={self.kubeconfig}"] if self.kubeconfig is not None else []
        context = ["--context", self.context] if self.context else []
        where = ["--namespace", namespace, "exec", pod, "--container", container, "--"]
        return [*variables, KUBECTL, *context, *where, *command]


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
        self._build = partial(kubectl.build_exec, namespace, pod, container=container)

    def _send(self, request: str) -> bytes:
        command = self._build([*MODULE, request])
        shown = shlex.join(command)
        if shutil.which(KUBECTL) is None:
            raise ClusterError(
                f"{KUBECTL} is not installed on this machine, and reading the queue of {self._name} needs it",
                hint=f"install {KUBECTL}, or run this command on a machine that has it: {shown}",
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


_ON_NODES = (SINK_BINDING, DAEMON_SET)
READY, IDLE, DEGRADED = "ready", "idle", "degraded"


def read_status(cluster: Cluster, owner: AppOwner, *, usage: bool = False) -> list[FunctionStatus]:
    """Read the status of every function in a namespace, with the parts of its app, sorted by name.

    The queue of Knative's broker can't be read from here.

    Args:
        owner: The site, and the namespace of its agents on nodes.
        usage: Whether the replicas are asked, too.
    """
    services = sorted(cluster.list(KSERVICE, selector=OURS), key=name_of)
    if not services:
        return []
    site = _Site(cluster, owner)
    found = [site.describe(service) for service in services]
    return _add_usage(cluster, found) if usage else found


SERVICE_LABEL = "serving.knative.dev/service"
_GAUGE = re.compile(r"^(process_\w+) (\S+)$", re.MULTILINE)
_ANSWERED = re.compile(
    r'^eaves_requests_total\{kind="(?:predict|tensor)",status="200",problem=""\} (\d+)$', re.MULTILINE
)
"""Series of a replica's requests that it doesn't leave to their senders to count."""


def _add_usage(cluster: Cluster, found: list[FunctionStatus]) -> list[FunctionStatus]:
    """Return functions with what their replicas use and have answered; a usage is None if one can't be asked."""
    pods = cluster.list(POD, selector=f"{SERVICE_LABEL} in ({','.join(one.name for one in found)})")
    running = [pod for pod in pods if status_of(pod).get("phase") == "Running"]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="replicas") as threads:
        figures = list(threads.map(partial(_read_replica, cluster), running))
    own = {
        one.name: [
            figure for pod, figure in zip(running, figures, strict=True) if labels_of(pod)[SERVICE_LABEL] == one.name
        ]
        for one in found
    }
    return [
        replace(
            one,
            usage=None
            if None in own[one.name]
            else sum((usage for usage, _ in filter(None, own[one.name])), ProcessUsage()),
            delivered=one.delivered + sum(answered for _, answered in filter(None, own[one.name])),
        )
        for one in found
    ]


def _read_replica(cluster: Cluster, pod: Object) -> tuple[ProcessUsage, int] | None:
    """Read the usage of a replica, and how many requests it has answered to senders that don't count them."""
    try:
        text = cluster.ask_pod(name_of(pod), PORT, METRICS, timeout_s=REPORT_TIMEOUT_S).body.decode(errors="replace")
        figures = {name: float(value) for name, value in _GAUGE.findall(text)}
        cpu_s, memory = figures["process_cpu_seconds_total"], figures["process_resident_memory_bytes"]
    except (ClusterError, ValueError, KeyError):
        return None
    return ProcessUsage(cpu_s=cpu_s, memory_bytes=int(memory)), sum(map(int, _ANSWERED.findall(text)))


class _Site:
    """The objects of a namespace, read once; for the status of each function there."""

    def __init__(self, cluster: Cluster, owner: AppOwner) -> None:
        self._cluster, self._owner, self._now = cluster, owner, cluster.clock()
        self._replicas = {
            name_of(one): int(status_of(one).get("actualScale") or 0) for one in cluster.list(POD_AUTOSCALER)
        }
        revisions = read_permitted(lambda: cluster.list(REVISION), list[Manifest]())
        self._revisions = {name_of(one): one for one in revisions}
        home = cluster.namespace
        places = [(kind, home) for kind in PART_KINDS]
        if owner.agents and owner.agents != home:
            places += [(kind, owner.agents) for kind in _ON_NODES]
        self._parts = PartReader(
            cluster,
            places,
            now=self._now,
            keep=lambda value: namespace_of(value) == home or owner.has_agent(value, home),
        )
        pods = list_agent_pods(cluster, owner)
        reported = zip(pods, read_agents(cluster, pods), strict=True)
        self._agents = {
            app: tuple(status for _, status in statuses) for app, statuses in groupby(reported, lambda one: one[0].app)
        }

    def describe(self, service: Object) -> FunctionStatus:
        """Build the status of one function."""
        name, unready = name_of(service), condition(service, "Ready")
        own = {key: value for key, value in self._parts.values.items() if labels_of(value).get(APP_LABEL) == name}
        # A user who may not list the namespace of agents gets the agents that they may see.
        unseen = [part for part in self._parts.unseen if part.namespace == self._cluster.namespace]
        items: Iterable[ObjectKey] = ()
        deployed = None
        try:
            inventory = read_inventory(self._cluster, name)
            items, deployed = inventory.items, inventory.deployment
        except (DeniedError, ConflictError, InvalidError) as error:
            unseen.append(unknown_part(CONFIG_MAP, self._cluster.namespace, error.message))
        parts = [*self._list_parts(own, items), *unseen]
        seen = None if is_ready(service) else read_function(self._cluster, name, service=service, now=self._now)
        wrong = seen.diagnosis if seen is not None else None
        routed = [entry for entry in status_of(service).get("traffic", ()) if entry.get("percent")]
        rollout = parse_rollout_status(service)
        replicas = sum(self._replicas.get(str(entry.get("revisionName")), 0) for entry in routed)
        state = _state(service, replicas, serving=bool(routed), failed=wrong is not None and wrong.final)
        if state in {READY, IDLE} and any(part.state in {FAILED, MISSING} for part in parts):
            state = DEGRADED
        said = unready.get("message") or unready.get("reason") or ""
        return FunctionStatus(
            name=name,
            state=state,
            replicas=replicas,
            reason=wrong.message if wrong is not None else str(said) if unready.get("status") == "False" else "",
            cause=wrong.cause if wrong is not None else "",
            fix=wrong.fix if wrong is not None else "",
            since=parse_time(unready.get("lastTransitionTime")) if unready.get("status") != "True" else None,
            artifact=image_of(service),
            artifact_digest=_find_artifact(service["spec"]["template"]),
            site=labels_of(service).get(SITE_LABEL, ""),
            parts=tuple(parts),
            serving=tuple(self._describe_served(entry) for entry in routed),
            deployed=None if deployed is None else self._describe_deployment(deployed),
            pinned=tuple(_list_pinned(own.values())),
            rollout=rollout.report() if rollout.current is not None or rollout.fault else None,
            delivered=sum(one.answered for agent in self._agents.get(name, ()) for one in agent.outcomes),
            agents=self._agents.get(name, ()),
        )

    def _list_parts(self, own: Mapping[Key, Object], items: Iterable[ObjectKey]) -> Iterator[PartStatus]:
        """Yield the parts of an app and the Brokers that they name; listed ones that are gone are `missing`."""
        kinds = {item_kind(kind): kind for kind in PART_KINDS}
        wanted = [*own, *(broker for key, value in own.items() for broker in broker_of(value, key[2]))]
        spaces = {self._cluster.namespace, self._owner.agents}
        listed = [item for item in items if item.kind in kinds and item.namespace in spaces]
        return self._parts.find([*wanted, *((kinds[item.kind], item.name, item.namespace) for item in listed)])

    def _describe_served(self, entry: Object) -> ServedStatus:
        name = str(entry.get("revisionName"))
        revision = self._revisions.get(name, {})
        image, digest = image_of(revision), _find_artifact(revision)
        return ServedStatus(revision=name, percent=int(entry["percent"]), image=image, artifact_digest=digest)

    def _describe_deployment(self, deployment: DeploymentRecord) -> DeployedStatus:
        return DeployedStatus(
            sequence=deployment.sequence,
            at=deployment.at,
            age_s=max(0.0, self._now - deployment.at),
            by=deployment.by,
            image=deployment.image,
            artifact_digest=deployment.artifact,
        )


def _find_artifact(value: Object) -> str:
    """Return the digest of the artifact of a Revision, or of a Service's template; empty when it has none."""
    return str(annotations_of(value).get(ARTIFACT_ANNOTATION, ""))


def _state(service: Object, replicas: int, *, serving: bool, failed: bool) -> str:
    """Return the state of a function.

    While its route leads to a ready revision, the function serves, even when a newer revision fails.
    """
    if is_true(service, "RoutesReady") and serving:
        return READY if replicas else IDLE
    if failed or (condition(service, "Ready").get("status") == "False" and observed(service)):
        return "failed"
    return "starting"


def _list_pinned(values: Iterable[Object]) -> Iterable[PinnedStatus]:
    """Yield each container image that is pinned on nodes, with its number of ready nodes."""
    for value in filter(is_pin, values):
        ready, wanted, _ = count_pods(value)
        yield PinnedStatus(image=image_of(value), ready=ready, wanted=wanted)

"""The parts of an app (its objects other than the function), each with its readiness and the reason.

A part is ready as kstatus defines it: its controller has processed its last change, its condition Ready is True, or all
pods of a StatefulSet or DaemonSet are updated and ready.

Source: kstatus (sigs.k8s.io/cli-utils, pkg/kstatus/status/core.go); Kubernetes 1.36, StatefulSetStatus and
DaemonSetStatus of apps/v1; Knative Eventing 1.22, pkg/apis/eventing/v1/{broker,trigger}_lifecycle.go, pkg/apis/sources/
v1/sinkbinding_lifecycle.go; knative.dev/pkg, apis/condition_types.go (a condition with a severity doesn't keep an
object from being ready).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from eaves.errors import DeniedError
from eaves.platform import PartStatus
from knative.client.cluster import Cluster
from knative.client.kinds import (
    BROKER,
    DAEMON_SET,
    EVENT_TYPE,
    JOB_SINK,
    NODE,
    POD,
    SINK_BINDING,
    STATEFUL_SET,
    TRIGGER,
    Labels,
    Manifest,
    Object,
    ObjectKind,
    kind_of,
    spec_of,
    status_of,
)
from knative.resources import agent
from knative.resources.agent import SOURCE_LABEL
from knative.resources.eventing import PUBLISHER_PART, RELAY_PART, TRIGGER_LABEL
from knative.resources.function import PIN_PART, is_pin
from knative.resources.metadata import APP_LABEL, OURS, PART_LABEL, labels_of
from knative.status.conditions import (
    Diagnosis,
    condition,
    explain_unseen,
    is_alive,
    is_true,
    last_applied,
    name_of,
    namespace_of,
    observed,
    parse_time,
    quote,
)
from knative.status.pods import diagnose_pods, list_events, read_permitted
from knative.status.refusals import ROOM, explain_refusal, explain_scheduling

PART_KINDS = (BROKER, TRIGGER, EVENT_TYPE, SINK_BINDING, JOB_SINK, STATEFUL_SET, DAEMON_SET)
"""Kinds of parts whose readiness is read; a kind comes before the kinds that depend on it."""
WORKLOADS = frozenset(kind.kind for kind in (STATEFUL_SET, DAEMON_SET))
"""Kinds of objects that run pods."""
PODS = f"{OURS},{PART_LABEL} in ({agent.PART},{PUBLISHER_PART},{RELAY_PART},{PIN_PART})"
READY, STARTING, FAILED, MISSING, UNKNOWN = "ready", "starting", "failed", "missing", "unknown"
"""States of a part (`PartStatus.state`)."""
DESTINATION = "destination"
"""Value of `Diagnosis.cause` when a part names a subscriber or sink that can't be resolved."""
_UNADDRESSED = "address not set"
"""Text of a Trigger's condition when its subscriber existed and had no address yet. It says nothing about the present:
a busy controller may look at the Trigger again minutes after the subscriber has its address.
Source: knative.dev/pkg, resolver/addressable_resolver.go; seen with Eventing 1.22."""
_MEANINGS = {
    "BrokerReady": ("broker", "its Broker is missing or not ready"),
    "ReferenceExists": ("broker", "its Broker is missing"),
    "SubscriberResolved": (DESTINATION, "its subscriber can't be resolved"),
    "DeadLetterSinkResolved": (DESTINATION, "its dead letter sink can't be resolved"),
    "SinkProvided": (DESTINATION, "its sink can't be resolved"),
    "SinkBindingReady": (DESTINATION, "its sink can't be resolved"),
}
"""Cause and meaning of a condition that isn't true, by the type of the condition."""
_LOOK_AGAIN = "kubectl -n {namespace} annotate sinkbindings --all eaves.dev/touched=now --overwrite"
"""Command that makes Knative look again at SinkBindings. Once a sink was gone, Knative 1.22 doesn't report that it is
back: its webhook writes the sink into the copy of the SinkBinding that the reconciler compares with. Source:
knative.dev/pkg, webhook/psbinding/psbinding.go."""
_AGENT_FIXES = {
    "package": (
        "set knative.agent_image (for a camera knative.agent_camera_image, for a bucket knative.agent_s3_image) in "
        "eaves.yaml to an existing container image for the nodes' processor architecture, by digest (Dockerfile, "
        "targets agent, agent-camera and agent-s3)"
    ),
    "memory": "lower max_bytes of the source in eaves.yaml; the memory limit of an agent grows with it",
    "room": f"free resources on a node: {ROOM}",
}
"""Fix of a fault for agents, which have other settings than a function, by `Diagnosis.key`."""
Key = tuple[ObjectKind, str, str]
"""Identity of a part: (kind, name, namespace)."""


def _sort(keys: Iterable[Key]) -> list[Key]:
    return sorted(dict.fromkeys(keys), key=lambda key: PART_KINDS.index(key[0]))


class PartReader:
    """The parts of a site's apps, read with one list request for each kind in each namespace.

    Args:
        places: Kinds and namespaces that are listed. Brokers may belong to any user, the other objects are Eaves'.
        keep: Function that returns whether an object counts.
    """

    def __init__(
        self,
        cluster: Cluster,
        places: Iterable[tuple[ObjectKind, str]],
        *,
        now: float,
        keep: Callable[[Object], bool],
    ) -> None:
        self.values: dict[Key, Object] = {}
        self.unseen: list[PartStatus] = []
        for kind, namespace in dict.fromkeys(places):
            try:
                found = cluster.list(kind, namespace=namespace, selector="" if kind is BROKER else OURS)
            except DeniedError as error:
                self.unseen.append(unknown_part(kind, namespace, error.message))
            else:
                self.values |= {key_of(value): value for value in found if keep(value)}
        self._judged = dict(zip(self.values, judge_parts(cluster, [*self.values.values()], now=now), strict=True))

    def find(self, wanted: Iterable[Key]) -> Iterator[PartStatus]:
        """Yield the given parts in the order of their kinds; those that don't exist are `missing`, as far as known."""
        hidden = {(part.kind, part.namespace) for part in self.unseen}
        for key in _sort(wanted):
            if key in self._judged:
                yield self._judged[key]
            elif (key[0].kind, key[2]) not in hidden:
                yield missing_part(*key)


def judge_parts(cluster: Cluster, values: Sequence[Object], *, now: float) -> list[PartStatus]:
    """Return the readiness of the given objects; the pods of workloads among them are read from the cluster."""
    pods: dict[str, Sequence[Object]] = {}
    for space in dict.fromkeys(namespace_of(value) for value in values if value["kind"] in WORKLOADS):
        # without the pods, the counts in a workload's status show whether it is ready
        pods[space] = read_permitted(partial(cluster.list, POD, namespace=space, selector=PODS), [])
    return [_judge(cluster, value, pods.get(namespace_of(value), ()), now) for value in values]


def _judge(cluster: Cluster, value: Object, pods: Sequence[Object], now: float) -> PartStatus:
    labels = labels_of(value)
    part = PartStatus(
        kind=str(value["kind"]),
        name=name_of(value),
        namespace=namespace_of(value),
        component=str(labels.get(PART_LABEL, "")),
    )
    applied = last_applied(value)
    if not observed(value):
        return unready_part(part, explain_unseen(value, now) or "its controller has not processed it yet", applied, now)
    if value["kind"] not in WORKLOADS:
        return _judge_conditions(part, value, now)
    ready, wanted, updated = count_pods(value)
    part = replace(part, pods=f"{ready}/{wanted}")
    if min(ready, updated) >= wanted and (wanted or part.component == PIN_PART):
        return part
    selector = spec_of(value).get("selector", {}).get("matchLabels", {}).items()
    own = [pod for pod in pods if is_alive(pod) and selector <= labels_of(pod).items()]
    unready, away = [pod for pod in own if not is_true(pod, "Ready")], set[str]()
    if value["kind"] == DAEMON_SET.kind and unready:
        having = {_node_of(pod) for pod in own if is_true(pod, "Ready")}
        away = _list_away_nodes(cluster, unready) - having
        unready = [pod for pod in unready if _node_of(pod) not in away]
        wanted -= len(away)
        part = replace(part, pods=f"{ready}/{wanted}")
        if not unready and min(len(having), updated) >= wanted > 0:
            return part
    times = (parse_time(condition(pod, "Ready").get("lastTransitionTime")) for pod in unready)
    since = min(filter(None, times), default=applied)
    fault, name = diagnose_pods(cluster, unready), agent_of(labels)
    if fault is not None and name:
        logs = f"eaves logs {name} --on knative" if fault.cause == "crash" else fault.fix
        fault = replace(fault, fix=_AGENT_FIXES.get(fault.key, logs))
    for event in list_events(cluster, value) if fault is None and not own else ():
        if event.get("reason") == "FailedCreate":
            fault = explain_refusal(str(event.get("message", "")), part.namespace)
            break
    if fault is not None:
        return unready_part(part, fault, since, now)
    if not wanted:
        return unready_part(part, _explain_no_node(value, away), applied, now)
    if updated < wanted:
        return unready_part(part, f"{updated} of {wanted} pods have the version that was deployed last", since, now)
    return unready_part(part, f"{ready} of {wanted} pods are ready", since, now)


def _explain_no_node(value: Object, away: set[str]) -> Diagnosis:
    """Explain why a workload is wanted on no node: all that it is for are away, or no node has its labels."""
    if away:
        text = f"every node that it is for is away: {', '.join(sorted(away))}"
        return Diagnosis("unschedulable", text, "kubectl get nodes")
    spec = spec_of(value).get("template", {}).get("spec", {})
    return explain_scheduling("no node selector fits", spec, namespace_of(value))


def _list_away_nodes(cluster: Cluster, pods: Sequence[Object]) -> set[str]:
    """Return the names of the nodes of pods that aren't ready, as far as the user may list nodes.

    A node that is switched off, or cut off, starts nothing, so no DaemonSet is to be waited for there. Its controller
    may count such a node or not, depending on the tolerations of the pods.
    """
    nodes = read_permitted(partial(cluster.list, NODE, namespace=""), list[Manifest]())
    return {name_of(node) for node in nodes if not is_true(node, "Ready")} & set(map(_node_of, pods))


def _node_of(pod: Object) -> str:
    return str(spec_of(pod).get("nodeName", ""))


def wanted_parts(manifests: Iterable[Object], namespace: str) -> list[Key]:
    """Return the parts of an app whose readiness a deploy waits for, and the Brokers that they name.

    Pins of container images aren't among them, since nodes may be switched off.
    """
    found: list[Key] = []
    for manifest in manifests:
        kind = kind_of(manifest)
        if kind not in PART_KINDS or is_pin(manifest):
            continue
        space = str(manifest["metadata"].get("namespace") or namespace)
        found += [*broker_of(manifest, space), (kind, name_of(manifest), space)]
    return _sort(found)


def broker_of(value: Object, namespace: str) -> Iterator[Key]:
    """Yield the Broker that a part names, if it names one."""
    spec = spec_of(value)
    if value["kind"] == TRIGGER.kind and spec.get("broker"):
        yield BROKER, str(spec["broker"]), namespace
    sink = (spec.get("sink") or {}).get("ref") or {}
    if sink.get("kind") == BROKER.kind:
        yield BROKER, str(sink["name"]), str(sink.get("namespace") or namespace)


def key_of(value: Object) -> Key:
    """Return the identity of an object that was read: (kind, name, namespace)."""
    return kind_of(value), name_of(value), namespace_of(value)


def agent_of(labels: Labels) -> str:
    """Return the name of an agent in commands, `FUNCTION.SOURCE`, by its labels; empty for a pin.

    A publisher is `FUNCTION.TRIGGER-mqtt`, a relay `FUNCTION.relay`.
    """
    component, name = labels.get(PART_LABEL, ""), labels.get(SOURCE_LABEL, "")
    if component == PUBLISHER_PART:
        name = f"{labels.get(TRIGGER_LABEL, '')}-mqtt"
    elif component == RELAY_PART:
        name = RELAY_PART
    return f"{labels.get(APP_LABEL, '')}.{name}" if name else ""


def missing_part(kind: ObjectKind, name: str, namespace: str) -> PartStatus:
    """Build the `PartStatus` of an object that should exist and doesn't."""
    fix = "eaves deploy --on knative"
    if kind is BROKER:
        fix = (
            "set knative.create_broker in eaves.yaml to yes, or knative.broker to an existing Broker: kubectl -n "
            f"{namespace} get brokers"
        )
    reason = f"it does not exist in the namespace {namespace}"
    return PartStatus(
        kind=kind.kind, name=name, namespace=namespace, state=MISSING, cause="missing", reason=reason, fix=fix
    )


def unknown_part(kind: ObjectKind, namespace: str, reason: str) -> PartStatus:
    """Build the `PartStatus` that stands for all objects of a kind that the user may not read."""
    return PartStatus(kind=kind.kind, name="*", namespace=namespace, state=UNKNOWN, reason=reason)


def unready_part(part: PartStatus, found: Diagnosis | str, since: float | None, now: float) -> PartStatus:
    """Return a part with the reason why it isn't ready: a fault, or a text while no fault is known."""
    age_s = max(0.0, now - since) if since is not None and now else None
    if isinstance(found, str):
        return replace(part, state=STARTING, reason=found, since=since, age_s=age_s)
    return replace(
        part,
        state=FAILED,
        cause=found.cause,
        reason=found.message,
        fix=found.fix,
        final=found.final,
        since=since,
        age_s=age_s,
    )


def _judge_conditions(part: PartStatus, value: Object, now: float) -> PartStatus:
    """Return a part with the readiness that its object's conditions show."""
    ready = condition(value, "Ready")
    if ready.get("status") == "True":
        return part
    others = [
        one
        for one in status_of(value).get("conditions") or ()
        if one.get("type") != "Ready" and one.get("status") != "True" and not one.get("severity")
    ]
    worst = min(others, key=lambda one: one.get("status") != "False", default=ready)
    kind, message = str(worst.get("type", "")), quote(str(worst.get("message") or worst.get("reason") or ""))
    cause, meaning = _MEANINGS.get(kind, ("refused", f"its condition {kind} is False"))
    fix = "eaves doctor"
    if cause == DESTINATION:
        fix = "deploy the object that it names, or change the name in eaves.yaml"
        if kind.startswith("Sink"):
            fix = f"{fix}; if it exists: {_LOOK_AGAIN.format(namespace=part.namespace)}"
    found: Diagnosis | str = Diagnosis(
        cause,
        f"{meaning}: {message}" if message else meaning,
        f"{fix}; kubectl -n {part.namespace} describe {part.kind.lower()} {part.name}",
    )
    if worst.get("status") != "False":
        found = message or "it is not ready yet"
    elif part.kind == TRIGGER.kind and _UNADDRESSED in message:
        found = f"{meaning} yet: {message}"
    return unready_part(part, found, parse_time(ready.get("lastTransitionTime")), now)


def count_pods(value: Object) -> tuple[int, int, int]:
    """Return the number of a workload's ready pods, of all, and of those with the version that was applied last."""
    status = status_of(value)
    if value["kind"] == DAEMON_SET.kind:
        counts = ("numberReady", "desiredNumberScheduled", "updatedNumberScheduled")
        ready, wanted, updated = (int(status.get(name) or 0) for name in counts)
        return ready, wanted, updated
    wanted = int(spec_of(value).get("replicas", 1))
    current = status.get("updateRevision") == status.get("currentRevision")
    updated = wanted if current else int(status.get("updatedReplicas") or 0)
    return int(status.get("readyReplicas") or 0), wanted, updated

"""Reader of the readiness of apps' parts: one list request for each kind, and details about unready pods."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eaves.errors import DeniedError
from knative.client.kinds import (
    BROKER,
    CONTAINER_SOURCE,
    DAEMON_SET,
    EVENT_TYPE,
    JOB_SINK,
    POD,
    SINK_BINDING,
    STATEFUL_SET,
    TRIGGER,
    ObjectKind,
    kind_of,
)
from knative.diagnosis.evidence import Object, PartEvidence, condition, is_alive, name_of, parse_time
from knative.diagnosis.evidence_reader import EvidenceReader
from knative.readiness.parts import AppPart, judge_part, missing_part, unknown_part
from knative.readiness.workloads import STEADY_S, WORKLOADS, ends_again, pod_labels, run_age_s
from knative.resources import agent, pin, publisher, relay
from knative.resources.metadata import MANAGED_LABEL, MANAGED_VALUE, PART_LABEL

if TYPE_CHECKING:
    from knative.client.cluster import Cluster

PART_KINDS = (BROKER, TRIGGER, EVENT_TYPE, SINK_BINDING, JOB_SINK, STATEFUL_SET, DAEMON_SET, CONTAINER_SOURCE)
"""Kinds of parts whose readiness is read; a kind comes before the kinds that depend on it."""
PODS = f"{MANAGED_LABEL}={MANAGED_VALUE},{PART_LABEL} in ({agent.PART},{publisher.PART},{relay.PART},{pin.PART})"
Key = tuple[ObjectKind, str, str]
"""Identity of a part: (kind, name, namespace)."""


class PartReader:
    """Reader of the readiness of parts, for repeated use: it remembers since when their pods have run.

    Args:
        cluster: Connection to the site's cluster.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reader = EvidenceReader(cluster)
        self._since: dict[str, float] = {}

    def list_values(
        self, kinds: Iterable[ObjectKind], namespace: str, selector: str
    ) -> tuple[list[Object], list[AppPart]]:
        """List objects of some kinds.

        For each kind that the user may not list, the second list gets one part of state `unknown`.

        Raises:
            ClusterError: When a request to the cluster fails.
        """
        found: list[Object] = []
        unseen: list[AppPart] = []
        for kind in kinds:
            try:
                # A Broker may belong to any user.
                found += self._cluster.list(kind, namespace=namespace, selector="" if kind is BROKER else selector)
            except DeniedError as error:
                unseen.append(unknown_part(kind, namespace, error.message))
        return found, unseen

    def read(self, wanted: Sequence[Key], *, now: float) -> list[AppPart]:
        """Read the readiness of the given parts.

        A kind that the user may not list gives one part of state `unknown`.

        Args:
            wanted: Kind, name and namespace of the parts.
            now: The API server's clock, Unix seconds.

        Raises:
            ClusterError: When a request to the cluster fails.
        """
        values: dict[Key, Object] = {}
        unseen: list[AppPart] = []
        for namespace in dict.fromkeys(key[2] for key in wanted):
            kinds = dict.fromkeys(key[0] for key in wanted if key[2] == namespace)
            found, hidden = self.list_values(kinds, namespace, f"{MANAGED_LABEL}={MANAGED_VALUE}")
            values |= {key_of(value): value for value in found}
            unseen += hidden
        hidden_kinds = {(part.kind, part.namespace) for part in unseen}
        asked = [key for key in wanted if (key[0].kind, key[2]) not in hidden_kinds]
        judged = self.read_readiness([values[key] for key in asked if key in values], now=now)
        return [*judged, *(missing_part(*key) for key in asked if key not in values), *unseen]

    def read_readiness(self, values: Sequence[Object], *, now: float) -> list[AppPart]:
        """Return the readiness of the given objects; the pods of workloads among them are read from the cluster.

        Raises:
            ClusterError: When a request to the cluster fails.
        """
        spaces = dict.fromkeys(str(value["metadata"]["namespace"]) for value in values if value["kind"] in WORKLOADS)
        pods = {space: self._list_pods(space) for space in spaces}
        return [
            judge_part(self._collect(value, pods.get(str(value["metadata"].get("namespace")), ()), now))
            for value in values
        ]

    def _list_pods(self, namespace: str) -> Sequence[Object]:
        try:
            return self._cluster.list(POD, namespace=namespace, selector=PODS)
        except DeniedError:  # the counts in the workload's status still show whether it is ready
            return ()

    def _collect(self, value: Object, pods: Sequence[Object], now: float) -> PartEvidence:
        if value["kind"] not in WORKLOADS:
            return PartEvidence(value=value, now=now)
        own = [pod for pod in pods if _belongs(pod, value)]
        living = [pod for pod in own if is_alive(pod)]
        suspects = [pod for pod in living if not _is_ready(pod) or ends_again(pod, now)]
        namespace = str(value["metadata"]["namespace"])
        events, logs = self._reader.read_pod_details(suspects, namespace, name_of(value) if not living else "")
        steady = frozenset(name_of(pod) for pod in own if self._is_steady(pod, now))
        return PartEvidence(value=value, pods=own, events=events, logs=logs, steady=steady, now=now)

    def _is_steady(self, pod: Object, now: float) -> bool:
        """Return whether a pod has run for `STEADY_S` seconds, by the node's clock or by this process's.

        The node's clock may be wrong, and this process knows only pods that it has seen before.
        """
        age_s = run_age_s(pod, now)
        if age_s is None or age_s >= STEADY_S:
            return True
        statuses = pod.get("status", {}).get("containerStatuses") or ()
        created = parse_time(pod["metadata"].get("creationTimestamp"))
        if age_s < 0 and created is not None and not any(one.get("restartCount") for one in statuses):
            return now - created >= STEADY_S  # the node's clock is ahead; the creation time is the API server's
        run = f"{pod['metadata'].get('uid')} {[one.get('restartCount') for one in statuses]}"
        began = self._since.setdefault(run, time.monotonic())
        return time.monotonic() - began >= STEADY_S


def wanted_parts(manifests: Iterable[Mapping[str, Any]], namespace: str) -> list[Key]:
    """Return the parts of an app whose readiness a deploy waits for, and the Brokers that they name.

    Pins of container images aren't among them, since nodes may be switched off.

    Args:
        manifests: Objects that were applied.
        namespace: Namespace of the manifests that name no namespace.
    """
    found: dict[Key, None] = {}
    for manifest in manifests:
        kind = kind_of(manifest)
        if kind not in PART_KINDS or manifest["metadata"]["labels"].get(PART_LABEL) == pin.PART:
            continue
        space = str(manifest["metadata"].get("namespace") or namespace)
        found |= dict.fromkeys([*broker_of(manifest, space), (kind, str(manifest["metadata"]["name"]), space)])
    return sorted(found, key=lambda key: PART_KINDS.index(key[0]))


def broker_of(value: Object, namespace: str) -> Iterator[Key]:
    """Yield the Broker that a part names, if it names one."""
    spec = value.get("spec", {})
    if value["kind"] == TRIGGER.kind and spec.get("broker"):
        yield BROKER, str(spec["broker"]), namespace
    sink = (spec.get("sink") or {}).get("ref") or {}
    if sink.get("kind") == BROKER.kind:
        yield BROKER, str(sink["name"]), str(sink.get("namespace") or namespace)


def key_of(value: Object) -> Key:
    """Return the identity of an object that was read: (kind, name, namespace)."""
    return kind_of(value), name_of(value), str(value["metadata"].get("namespace", ""))


def _belongs(pod: Object, value: Object) -> bool:
    """Return whether a pod belongs to a workload, by its labels and by the UID of its controller if it has one."""
    labels = pod["metadata"].get("labels") or {}
    wanted = pod_labels(value)
    if not wanted or not wanted.items() <= labels.items():
        return False
    owners = [
        one.get("uid") for one in pod["metadata"].get("ownerReferences") or () if one.get("kind") == value["kind"]
    ]
    return not owners or value["metadata"].get("uid") in owners


def _is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"

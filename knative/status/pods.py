"""Explanations of pods that aren't ready: not scheduled, evicted, or with containers that wait, end or aren't ready.

Source: Kubernetes 1.36, pkg/kubelet/kuberuntime/kuberuntime_container.go, pkg/kubelet/container/sync_result.go and
pkg/kubelet/events/event.go (the reasons), security_context.go and kuberuntime_manager.go (their messages); runc's
texts; `functions.model_loading` for the texts of the function's own log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from eaves.errors import ClusterError, DeniedError
from knative.client.cluster import Cluster
from knative.client.kinds import EVENT, NODE, Manifest, Object, metadata_of, spec_of, status_of
from knative.status.conditions import (
    SIDECAR,
    Diagnosis,
    condition,
    containers,
    find_ended_state,
    is_true,
    name_of,
    namespace_of,
    quote,
)
from knative.status.refusals import ARCHITECTURE, PULLS, explain_pull, explain_scheduling, explain_start

LOG_LINES, _TAIL_LINES = 100, 5
MAX_PODS = 3
"""Maximum number of pods whose details are read; the other pods of the same workload fail in the same way."""
STARTING = frozenset({
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun",
    "PostStartHookError",
})  # fmt: skip
_NEVER_READY = re.compile(r"never ready: (.*?)(?: \(try: (.*)\))?$", re.DOTALL)
_NODE_EVENTS = {
    "FailedMount": "a volume can't be mounted",
    "FailedCreatePodSandBox": "the node can't set up the pod",
}
_GIVEN_UP_AFTER = 3
"""Number of restarts after which a crash counts as final; a kubelet waits 10, 20 and 40 s between the restarts."""
_CERTAIN_EXITS = frozenset({64, 65, 78})
"""Exit codes for wrong usage, data or configuration (sysexits.h).

`eaves.errors` ends a process with them. A restarted process ends with the same code, so the crash is final at once.
"""
_KILLED = 137
T = TypeVar("T")


def read_permitted(read: Callable[[], T], otherwise: T) -> T:
    """Return the value that `read` returns; `otherwise` when the user may not read it."""
    try:
        return read()
    except DeniedError:
        return otherwise


def diagnose_pods(cluster: Cluster, pods: Sequence[Object]) -> Diagnosis | None:
    """Explain why pods of one workload aren't ready; faults that don't go away by themselves come first.

    The first pods' Events are read if they wait, and the logs of their own containers.
    """
    explained = (diagnose_pod(cluster, pod) for pod in pods[:MAX_PODS])
    return min((one for one in explained if one is not None), key=lambda one: not one.final, default=None)


def diagnose_pod(cluster: Cluster, pod: Object) -> Diagnosis | None:
    """Explain why one pod isn't ready, as `diagnose_pods` does."""
    waits = any((status.get("state") or {}).get("waiting") for status in containers(pod))
    events = list_events(cluster, pod) if waits else []
    found = explain_pod(pod, log=_read_log(cluster, pod), events=events)
    if found is not None and "key: KEY" in found.fix:  # the scheduler didn't name the taint
        nodes = read_permitted(partial(cluster.list, NODE, namespace=""), list[Manifest]())
        taints = [taint["key"] for node in nodes for taint in find_untolerated(node, spec_of(pod))]
        return replace(found, fix=found.fix.replace("KEY", taints[0])) if taints else found
    return found


def find_untolerated(node: Object, spec: Object) -> list[Mapping[str, str]]:
    """Return the taints of a node that keep a pod with this spec away.

    Source: core/v1, Toleration.ToleratesTaint.
    """

    def covers(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
        if any(toleration.get(field, "") not in {"", taint[field]} for field in ("effect", "key")):
            return False
        return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")

    taints = [taint for taint in node["spec"].get("taints") or () if taint["effect"] in {"NoSchedule", "NoExecute"}]
    return [taint for taint in taints if not any(covers(one, taint) for one in spec.get("tolerations") or ())]


def list_events(cluster: Cluster, value: Object) -> list[Manifest]:
    """List the Events about an object, the newest first; empty when the user may not read them."""
    namespace, fields = namespace_of(value), f"involvedObject.name={name_of(value)}"
    found = read_permitted(lambda: cluster.list(EVENT, namespace=namespace, fields=fields), list[Manifest]())
    # the scheduler writes only `eventTime`
    return sorted(found, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime")), reverse=True)


def explain_pod(pod: Object, *, log: Sequence[str] = (), events: Sequence[Object] = ()) -> Diagnosis | None:
    """Explain why a pod isn't ready; return None when it is, or when it only needs more time.

    Args:
        log: Last lines of the log of its own container; from the process before the last restart if it waits.
        events: Core Events about the pod, the newest first.
    """
    status, spec, namespace = status_of(pod), spec_of(pod), namespace_of(pod)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return explain_scheduling(str(scheduled.get("message", "")), spec, namespace)
    if status.get("reason") == "Evicted":
        node = spec.get("nodeName", "NODE")
        return Diagnosis(
            "unschedulable",
            f"the node {node} has evicted the pod: {quote(str(status.get('message', '')))}",
            f"kubectl describe node {node} | grep -A8 Conditions",
        )
    for container in containers(pod):
        found = _explain_waiting(pod, container)
        if found is None and not container.get("ready"):
            found = _explain_crash(pod, container, log)
        if found is not None:
            return found
    if (found := _explain_events(pod, events)) is not None or is_true(pod, "Ready"):
        return found
    ends = (_explain_crash(pod, one, log) for one in containers(pod) if one.get("name") != SIDECAR)
    return _explain_log(log) or next((end for end in ends if end is not None), None)


def _read_log(cluster: Cluster, pod: Object) -> list[str]:
    """Read the end of the log of a container that has ended, or that runs while the pod isn't ready.

    Knative's sidecar probes the function, so the function's own container counts as ready whenever it runs.
    """
    for status in containers(pod):
        state, container = status.get("state") or {}, str(status.get("name", ""))
        ended = bool(find_ended_state(status)) and not status.get("ready")
        if container == SIDECAR or not (ended or "running" in state) or is_true(pod, "Ready"):
            continue
        with suppress(ClusterError):  # the user may not read it, the pod has just gone, or its node is off
            return cluster.logs(
                name_of(pod),
                container=container,
                lines=LOG_LINES,
                previous=ended and "terminated" not in state,
                namespace=namespace_of(pod),
            )
    return []


def _explain_crash(pod: Object, container: Object, log: Sequence[str]) -> Diagnosis | None:
    """Explain why a container's process ended, from the container's status; return None when no process has ended."""
    ended = find_ended_state(container)
    if not ended:
        return None
    restarts, code = int(container.get("restartCount") or 0), int(ended.get("exitCode") or 0)
    reason, message = str(ended.get("reason", "")), str(ended.get("message", ""))
    name = str(container.get("name", ""))
    said = (log if name != SIDECAR else ()) or message.splitlines()
    tail = [line for line in said if line.strip()][-_TAIL_LINES:]
    if reason in STARTING or "failed to create containerd task" in message or ARCHITECTURE in f"{message} {tail}":
        return explain_start(" ".join([reason, message, *tail]), str(container.get("image", "")), namespace_of(pod))
    if reason == "OOMKilled" or (code == _KILLED and not message):
        return _explain_memory(pod, name, restarts, certain=reason == "OOMKilled")
    times = f", {restarts} times" if restarts > 1 else ""
    return _explain_log(tail) or Diagnosis(
        "crash",
        f"the process ended with exit code {code}{times}"
        + (f": {quote(' | '.join(tail))}" if tail else ", and wrote no log"),
        f"kubectl logs --previous -n {namespace_of(pod)} {name_of(pod)} -c {name}",
        final=code in _CERTAIN_EXITS or restarts >= _GIVEN_UP_AFTER,
    )


def _explain_log(lines: Sequence[str]) -> Diagnosis | None:
    """Explain why a function isn't ready, from the line `never ready: ...` in its log; None without such a line."""
    for line in reversed(lines):
        text = line
        if line.startswith("{"):
            try:
                text = str(json.loads(line).get("message", ""))
            except (ValueError, AttributeError):
                continue
        if (found := _NEVER_READY.search(text)) is not None:
            return Diagnosis(
                "function",
                f"the function reports: {quote(found[1])}",
                found[2] or "eaves verify ARTIFACT, then build it again with eaves package",
                final=True,
            )
    return None


def _explain_waiting(pod: Object, container: Object) -> Diagnosis | None:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, said = waiting.get("reason"), f"{waiting.get('reason')} {waiting.get('message', '')}"
    spec = spec_of(pod)
    if reason in PULLS:
        return explain_pull(
            str(container.get("image", "")),
            said,
            node="" if reason == "ContainerMissing" else str(spec.get("nodeName") or "NODE"),
            namespace=namespace_of(pod),
        )
    if reason in STARTING:
        return explain_start(said, str(container.get("image", "")), namespace_of(pod))
    return None


def _explain_events(pod: Object, events: Sequence[Object]) -> Diagnosis | None:
    """Explain from Events why the containers of a pod don't exist yet; the pod's status doesn't contain the reason."""
    uid = metadata_of(pod).get("uid")
    for event in events:
        what = _NODE_EVENTS.get(str(event.get("reason", "")))
        if what is not None and event.get("involvedObject", {}).get("uid", uid) == uid:
            return Diagnosis(
                "configuration",
                f"{what}: {quote(str(event.get('message', '')))}",
                f"kubectl -n {namespace_of(pod)} describe pod {name_of(pod)}",
            )
    return None


def _explain_memory(pod: Object, container: str, restarts: int, *, certain: bool) -> Diagnosis:
    found = (one for one in spec_of(pod).get("containers") or () if one.get("name") == container)
    limits = [(one.get("resources") or {}).get("limits") or {} for one in found]
    limit = limits[0].get("memory", "") if limits else ""
    how = "was killed because it used" if certain else "was killed, most likely because it used"
    return Diagnosis(
        "memory",
        f"the process {how} more memory than allowed" + (f" ({limit})" if limit else ""),
        "set knative.pod.resources.limits.memory in eaves.yaml to twice as much, then: eaves deploy --on knative",
        final=restarts >= 1,
        key="memory",
    )

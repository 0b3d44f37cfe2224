"""Explanations of containers that can't be started, that end again and again, or that run without becoming ready.

Source: Kubernetes 1.36, pkg/kubelet/kuberuntime/kuberuntime_container.go and pkg/kubelet/container/sync_result.go (the
reasons), security_context.go and kuberuntime_manager.go (their messages); runc's texts; `functions.model.model_loading`
for the texts of the function's own log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from eaves.platform.quantities import parse_quantity
from eaves.web.problem_document import find_kind
from knative.diagnosis.evidence import Diagnosis, Object, quote
from knative.resources.pod import show_memory

CONFIGURATION = frozenset({"CreateContainerConfigError"})
STARTING = frozenset(
    {"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun", "PostStartHookError"}
)
_MISSING = re.compile(r'(secret|configmap) "([^"]+)" not found|couldn\'t find key (\S+) in (Secret|ConfigMap) (\S+)')
_ROOT = re.compile(r"run as root|breaks non-root policy|non-numeric user")
_ARCHITECTURE = re.compile(r"exec format error")
_NO_COMMAND = re.compile(r"executable file not found|no such file or directory|permission denied")
_NEVER_READY = re.compile(r"never ready: (.*?)(?: \(try: (.*)\))?$", re.DOTALL)
_GIVEN_UP_AFTER = 3
"""Number of restarts after which a crash counts as final; a kubelet waits 10, 20 and 40 s between the restarts."""
_CERTAIN_EXITS = frozenset({64, 65, 78})
"""Exit codes for wrong usage, data or configuration (sysexits.h).

`eaves.errors` ends a process with them. A restarted process ends with the same code, so the crash is final at once.
"""
_KILLED = 137
_TAIL_LINES = 5


def explain_configuration(message: str, namespace: str) -> Diagnosis:
    """Explain why a container can't be created, such as a missing Secret or ConfigMap."""
    if (found := _MISSING.search(message)) is not None:
        kind = (found[1] or found[4]).lower()
        name = (found[2] or found[5]).rpartition("/")[2]
        what = f"its key {found[3]}" if found[3] else "it"
        return Diagnosis(
            cause="configuration",
            message=f"the container needs the {kind} {name}, but {what} does not exist",
            fix=f"kubectl -n {namespace} get {kind} {name}; create it, and the pod then starts by itself",
            final=False,
        )
    if _ROOT.search(message):
        return Diagnosis(
            cause="configuration",
            message=f"the container image runs as root, which the cluster does not allow: {quote(message)}",
            fix="build the container image with eaves package, whose container images run as a numeric user "
            "other than root",
            final=True,
        )
    return Diagnosis(
        cause="configuration",
        message=f"the container can't be created: {quote(message)}",
        fix=f"kubectl -n {namespace} get events --field-selector type=Warning",
        final=False,
    )


def explain_start(reason: str, message: str, image: str) -> Diagnosis:
    """Explain why a container can't be started, such as a command that doesn't exist."""
    if _ARCHITECTURE.search(message):
        return wrong_architecture(image)
    certain = bool(_NO_COMMAND.search(message))
    return Diagnosis(
        cause="configuration",
        message=f"the container can't be started ({reason}): {quote(message)}",
        fix=f"build the container image with eaves package and set knative.image in eaves.yaml (now {image})",
        final=certain,
    )


def wrong_architecture(image: str) -> Diagnosis:
    """Build the diagnosis of a container image that is built for another CPU architecture than the node's."""
    repository = image.partition("@")[0]
    return Diagnosis(
        cause="image",
        message=f"{image} is built for another processor architecture than the node's (exec format error)",
        fix=f"eaves package ARTIFACT -t {repository} --base BASE --platform linux/amd64 --platform linux/arm64, "
        "then set knative.image in eaves.yaml to the printed name; kubectl get nodes -L kubernetes.io/arch "
        "shows the architecture of each node",
        final=True,
    )


def explain_crash(status: Object, wanted: Object, logs: Sequence[str], where: str) -> Diagnosis | None:
    """Explain why a container's process ended; return None when no process has ended.

    Args:
        status: Status of the container.
        wanted: The container in the Revision, for its limits.
        logs: Last log lines of the process that ended.
        where: `-n NAMESPACE POD -c CONTAINER` for commands.
    """
    ended = ended_state(status)
    if not ended:
        return None
    restarts, code = int(status.get("restartCount") or 0), int(ended.get("exitCode") or 0)
    reason, message = str(ended.get("reason", "")), str(ended.get("message", ""))
    image = str(wanted.get("image") or status.get("image", ""))
    if _ARCHITECTURE.search(message) or any(_ARCHITECTURE.search(line) for line in logs):
        return wrong_architecture(image)
    if reason in STARTING:
        return explain_start(reason, message, image)
    if reason == "OOMKilled" or (code == _KILLED and not message):
        return _memory(wanted, restarts, killed=reason != "OOMKilled")
    tail = _last_lines(logs, message)
    if tail and (own := explain_log(tail)) is not None:
        return own
    return Diagnosis(
        cause="crash",
        message=f"the process ended with exit code {code}"
        + (f", {restarts} times" if restarts > 1 else "")
        + (f": {quote(' | '.join(tail))}" if tail else ", and wrote no log"),
        fix=f"kubectl logs --previous {where}",
        final=code in _CERTAIN_EXITS or restarts >= _GIVEN_UP_AFTER,
    )


def ended_state(status: Object) -> Object:
    """Return the state `terminated` of a container's last process that ended; empty when none has ended."""
    state = status.get("state") or {}
    ended: Object = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return ended


def explain_readiness(problem: Object) -> Diagnosis | None:
    """Explain why a function isn't ready from its answer to the readiness probe; return None while it loads or ends.

    Args:
        problem: Problem document in the answer; see `eaves.web.problem_document`.
    """
    if find_kind(problem) in {"loading", "stopped"} or not problem.get("detail"):
        return None
    return _own(str(problem["detail"]), str(problem.get("hint", "")))


def explain_log(lines: Sequence[str]) -> Diagnosis | None:
    """Explain why a function isn't ready, from the line `never ready: ...` in its log; None without such a line."""
    for line in reversed(lines):
        text = line
        if line.startswith("{"):
            try:
                text = str(json.loads(line).get("message", ""))
            except (ValueError, AttributeError):
                continue
        if (found := _NEVER_READY.search(text)) is not None:
            return _own(found[1], found[2] or "")
    return None


def _own(detail: str, hint: str) -> Diagnosis:
    return Diagnosis(
        cause="function",
        message=f"the function reports: {quote(detail)}",
        fix=hint
        or ("eaves verify ARTIFACT, then build it again with eaves package and set knative.image in eaves.yaml"),
        final=True,
    )


def _memory(wanted: Object, restarts: int, *, killed: bool) -> Diagnosis:
    limit = ((wanted.get("resources") or {}).get("limits") or {}).get("memory", "")
    size = parse_quantity(limit) if limit else None
    more = show_memory(size * 2) if size else "2Gi"
    how = "was killed, most likely because it used" if killed else "was killed because it used"
    return Diagnosis(
        cause="memory",
        message=f"the process {how} more memory than allowed" + (f" ({limit})" if limit else ""),
        fix=f"set knative.memory_limit in eaves.yaml to {more}, then: eaves deploy --on knative"
        if limit
        else (
            "set knative.memory in eaves.yaml to the memory that the process needs, so that it is scheduled on "
            "a node with enough free memory"
        ),
        final=restarts >= 1,
    )


def _last_lines(logs: Sequence[str], message: str) -> list[str]:
    """Return the last lines that a process wrote: from its log, or else from the container's termination message."""
    lines = [line for line in (logs or message.splitlines()) if line.strip()]
    return lines[-_TAIL_LINES:]

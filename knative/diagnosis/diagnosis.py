"""Diagnosis of a function: possible causes are checked in the order in which they take effect."""

from __future__ import annotations

from dataclasses import replace

from knative.diagnosis.admission import explain_refusal
from knative.diagnosis.crashes import CONFIGURATION, STARTING, explain_configuration, explain_log, explain_start
from knative.diagnosis.evidence import (
    Diagnosis,
    FunctionEvidence,
    Object,
    condition,
    is_alive,
    last_applied,
    name_of,
    quote,
)
from knative.diagnosis.image_pulls import REASONS, explain_pull
from knative.diagnosis.past_events import explain_history
from knative.diagnosis.pods import explain_pod, pull_of
from knative.diagnosis.routing import explain_creation, explain_owner, explain_routes, explain_unobserved
from knative.diagnosis.scheduling import explain_scheduling

_DEADLINE = "ProgressDeadlineExceeded"
_NEVER_STARTED = "failed to create containerd task"
"""Text in the message of a container that could not be started; its exit code is 128.

Source: Kubernetes, pkg/kubelet/kuberuntime/kuberuntime_container.go (StartError); containerd.
"""


def diagnose_function(evidence: FunctionEvidence) -> Diagnosis | None:
    """Explain why a Knative Service isn't ready; return None when it is, or when it only needs more time.

    Pure: the result depends only on the evidence.
    """
    service = evidence.service
    if is_ready(service):
        return None
    if not observed(service):
        applied = last_applied(service)
        return explain_unobserved(service, evidence.now - applied if evidence.now and applied else 0.0)
    found = explain_owner(evidence) or explain_creation(evidence)
    if found is not None:
        return found
    if condition(service, "ConfigurationsReady").get("reason") == "OutOfDate":
        return None  # the Service still names the previous Revision
    if condition(evidence.revision, "Ready").get("status") == "True":
        return explain_routes(evidence)
    return _worse_after_deadline(evidence, _explain_revision(evidence))


def observed(service: Object) -> bool:
    """Return whether Knative's controller has processed the last change of a Service."""
    generation = service.get("metadata", {}).get("generation")
    return bool(service.get("status", {}).get("observedGeneration") == generation)


def is_ready(service: Object) -> bool:
    """Return whether the newest revision of a Knative Service and its routes are ready.

    Source: Knative Serving, pkg/apis/serving/v1/service_lifecycle.go, IsReady.
    """
    status = service.get("status", {})
    created = status.get("latestCreatedRevisionName")
    return (
        observed(service)
        and condition(service, "Ready").get("status") == "True"
        and bool(created)
        and created == status.get("latestReadyRevisionName")
    )


def _explain_revision(evidence: FunctionEvidence) -> Diagnosis | None:
    living = [pod for pod in evidence.pods if is_alive(pod)]
    found = [one for pod in living if (one := explain_pod(evidence, pod))]
    if found:
        return min(found, key=lambda one: not one.final)
    for value in (*evidence.replica_sets, evidence.deployment):
        state = condition(value, "ReplicaFailure")
        if state.get("status") == "True":
            return explain_refusal(str(state.get("message", "")), namespace=evidence.namespace)
    # A Revision reports an unschedulable pod for a long time after the pod was scheduled.
    return None if living else _explain_conditions(evidence)


def _explain_conditions(evidence: FunctionEvidence) -> Diagnosis | None:
    """Explain why a Revision isn't ready from the Revision's conditions; they are used when no pod is left."""
    for kind in ("ContainerHealthy", "ResourcesAvailable"):
        state = condition(evidence.revision, kind)
        if state.get("status") != "False":
            continue
        reason, message = str(state.get("reason", "")), str(state.get("message", ""))
        if reason in REASONS:
            return explain_pull(pull_of(evidence, reason, message))
        if reason == "Unschedulable":
            template = (evidence.deployment or {}).get("spec", {}).get("template", {})
            return explain_scheduling(message, {**template, "metadata": {"namespace": evidence.namespace}})
        if reason == "FailedCreate":
            return explain_refusal(message, namespace=evidence.namespace)
        if reason in CONFIGURATION:
            return explain_configuration(message, evidence.namespace)
        if reason in STARTING:
            return explain_start(reason, message, str(evidence.container.get("image", "")))
        if reason.startswith("ExitCode"):
            return _ended(evidence, reason, message)
    return None


def given_up(evidence: FunctionEvidence) -> bool:
    """Return whether Knative has given up a revision.

    After its progress deadline, a revision is scaled to zero and not started again. When the Revision is deleted,
    Knative makes it again under the same name.
    """
    states = condition(evidence.deployment, "Progressing"), condition(evidence.revision, "ResourcesAvailable")
    late = any(state.get("status") == "False" and state.get("reason") == _DEADLINE for state in states)
    ready, active = condition(evidence.revision, "Ready"), condition(evidence.revision, "Active")
    return late or (ready.get("status") == "False" and active.get("status") == "False")


def _worse_after_deadline(evidence: FunctionEvidence, found: Diagnosis | None) -> Diagnosis | None:
    """Return the diagnosis.

    Once Knative has given up the revision, the diagnosis is final, and its fix makes Knative try again.
    """
    if not given_up(evidence):
        return found
    name = name_of(evidence.revision or {})
    again = f"kubectl -n {evidence.namespace} delete revisions.serving.knative.dev {name}"
    found = found or explain_history(evidence)
    if found is None:
        return Diagnosis(
            cause="controller",
            message=f"the revision {name} did not become ready within its progress deadline, and Knative has "
            "stopped trying",
            fix="raise scale.start_timeout_s in eaves.yaml if the function starts slowly; this command makes "
            f"Knative try again: {again}",
            final=True,
        )
    message = f"{found.message}; Knative has stopped trying to start the revision {name}"
    return replace(found, final=True, message=message, fix=f"{found.fix}; then make Knative try again: {again}")


def _ended(evidence: FunctionEvidence, reason: str, message: str) -> Diagnosis:
    code = reason.removeprefix("ExitCode")
    text = message.removeprefix("Container failed with: ")
    if _NEVER_STARTED in text:
        return explain_start("StartError", text, str(evidence.container.get("image", "")))
    return explain_log(text.splitlines()) or Diagnosis(
        cause="crash",
        message=f"the process ended with exit code {code}: {quote(text)}",
        fix=f"eaves logs {evidence.name} --on knative",
        final=False,
    )

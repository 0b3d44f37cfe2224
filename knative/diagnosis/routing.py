"""Explanations of routing faults: names in use, an inactive networking layer, certificates, missing revisions.

Source: Knative Serving 1.23, pkg/apis/serving/v1/route_lifecycle.go, service_lifecycle.go and
configuration_lifecycle.go; knative.dev/networking, pkg/apis/networking/v1alpha1/ingress_lifecycle.go.
"""

from __future__ import annotations

import re

from knative.diagnosis.admission import explain_denial
from knative.diagnosis.evidence import Diagnosis, FunctionEvidence, Object, condition, quote

_OWNED = re.compile(r'There is an existing (?:placeholder )?(\w+) "?([^" ]+)"? that we (?:do not|don\'t) own')
_CREATION = re.compile(r"Revision creation failed with message: (.*)", re.DOTALL)
_GONE = re.compile(r'(\w+) "([^"]+)" referenced in traffic not found')
_RESOURCES = {
    "Service": "service",
    "Endpoint": "endpoints",
    "Configuration": "configurations.serving.knative.dev",
    "Route": "routes.serving.knative.dev",
    "Deployment": "deployment",
    "PodAutoscaler": "podautoscalers.autoscaling.internal.knative.dev",
    "certificate": "certificates.networking.internal.knative.dev",
}
_NOT_THERE = frozenset({"RevisionNotOwned", "RevisionNameTaken"})
_INGRESS = frozenset({"IngressNotConfigured", "Uninitialized"})
_PATIENCE_S = 15.0
"""Maximum seconds that a networking layer may take to route requests before it counts as faulty; one that works takes
less than 2 s."""


def explain_owner(evidence: FunctionEvidence) -> Diagnosis | None:
    """Explain an object that Knative can't create because an object of another owner has its name."""
    found = [condition(evidence.service, kind) for kind in ("ConfigurationsReady", "RoutesReady")]
    found += [condition(evidence.revision, "ResourcesAvailable")]
    for state in found:
        if state.get("status") == "False" and (owned := _OWNED.search(str(state.get("message", "")))) is not None:
            kind, name = owned.groups()
            resource = _RESOURCES.get(kind, kind.lower())
            return Diagnosis(
                cause="refused",
                message=f"the name is in use: {kind} {name} in the namespace {evidence.namespace} does not belong "
                "to Knative",
                fix="set another name in eaves.yaml, or, if the object is not needed: kubectl -n "
                f"{evidence.namespace} delete {resource} {name}",
                final=True,
            )
    return None


def explain_creation(evidence: FunctionEvidence) -> Diagnosis | None:
    """Explain why Knative could not create a Revision."""
    state = condition(evidence.service, "ConfigurationsReady")
    found = _CREATION.search(str(state.get("message", "")))
    if state.get("status") != "False" or found is None:
        return None
    return explain_denial(found[1]) or Diagnosis(
        cause="refused",
        message=f"Knative can't create a revision: {quote(found[1])}",
        fix=f"kubectl -n {evidence.namespace} describe configurations.serving.knative.dev {evidence.name}",
        final=False,
    )


def explain_routes(evidence: FunctionEvidence) -> Diagnosis | None:
    """Explain why requests don't reach a Revision that is ready; return None when they do, or may do so soon."""
    state = condition(evidence.service, "RoutesReady")
    reason, message = str(state.get("reason", "")), str(state.get("message", ""))
    if not state or state.get("status") == "True":
        return None
    if leads_nowhere(evidence.service):
        gone = _GONE.search(message)
        return Diagnosis(
            cause="routing",
            message=f"requests are routed to a revision that does not exist: {quote(gone[0] if gone else message)}",
            fix=f"eaves promote {evidence.name} --on knative",
            final=True,
        )
    if reason.startswith("Certificate"):
        return _certificate(evidence, reason, message)
    if reason in _INGRESS and evidence.old(state, _PATIENCE_S):
        return _ingress(reason, message)
    if state.get("status") == "False" and reason != "RevisionMissing":
        return _ingress(reason, message)
    return None


def leads_nowhere(service: Object) -> bool:
    """Return whether a Knative Service's traffic names a revision that doesn't exist; `promote` fixes that."""
    state = condition(service, "RoutesReady")
    if not state or state.get("status") == "True":
        return False
    return state.get("reason") in _NOT_THERE or _GONE.search(str(state.get("message", ""))) is not None


def _certificate(evidence: FunctionEvidence, reason: str, message: str) -> Diagnosis:
    return Diagnosis(
        cause="routing",
        message=f"the function's TLS certificate is missing: {quote(message)}",
        fix=f"kubectl -n {evidence.namespace} describe certificates.networking.internal.knative.dev; a function "
        "that is used only inside the cluster needs none (knative.public: no in eaves.yaml)",
        final=reason in {"CertificateProvisionFailed", "CertificateNotOwned"},
    )


def _ingress(reason: str, message: str) -> Diagnosis:
    nobody = reason == "IngressNotConfigured"
    why = "no networking layer processes the function's Ingress" if nobody else "the networking layer isn't ready"
    return Diagnosis(
        cause="routing",
        message=f"{why} ({quote(message) or reason})",
        fix="kubectl -n knative-serving get configmap config-network -o jsonpath='{.data.ingress-class}'   # "
        "this networking layer must run; `eaves doctor` checks it",
        final=False,
    )


def explain_unobserved(service: Object, waited_s: float) -> Diagnosis | None:
    """Report that Knative's controller hasn't processed a Service's last change; return None in the first seconds."""
    if waited_s < _PATIENCE_S:
        return None
    name, namespace = service["metadata"].get("name"), service["metadata"].get("namespace")
    return Diagnosis(
        cause="controller",
        message=f"Knative's controller has not processed the change of {namespace}/{name} that was applied "
        f"{waited_s:.0f} s ago",
        fix="kubectl -n knative-serving get pods -l app=controller; kubectl -n knative-serving logs -l app=controller",
        final=False,
    )

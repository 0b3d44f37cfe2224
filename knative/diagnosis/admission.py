"""Explanations of objects and pods that the cluster refuses, because of feature flags, quotas, limits or Pod Security.

Source: Kubernetes 1.36, apiserver/pkg/admission/plugin/resourcequota/controller.go (exceeded quota),
pkg/quota/v1/evaluator/core/pods.go (must specify), plugin/pkg/admission/limitranger/admission.go,
pod-security-admission/admission/admission.go (violates PodSecurity); Knative's pkg/apis/field_error.go.
"""

from __future__ import annotations

import re

from knative.diagnosis.evidence import SIDECAR, Diagnosis, quote
from knative.diagnosis.feature_flags import enable_command, missing_flags, warn_lasting

_QUOTA = re.compile(r"exceeded quota: (\S+), (.*)", re.DOTALL)
_UNSPECIFIED = re.compile(r"failed quota: (\S+): must specify (.*)", re.DOTALL)
_POD_SECURITY = re.compile(r'violates PodSecurity "([^"]+)": (.*)', re.DOTALL)
_LIMIT = re.compile(
    r"(?:maximum|minimum) \w+ usage per \w+ is.*|is invalid: .*must be less than or equal to .* limit.*", re.DOTALL
)
_SIDECAR = re.compile(r"\bqueue-proxy\b")
_NO_NAME = "Failed to parse image reference"
RESOURCE_DEFAULTS = "queueproxy.resource-defaults"
"""Key of the ConfigMap config-features. When it is enabled, Knative's sidecar gets resource requests and limits."""
_WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied the request: (?:validation failed: )?(.*)', re.DOTALL)


def explain_denial(message: str) -> Diagnosis | None:
    """Explain why an object was refused when it was applied; return None for an unknown reason.

    Args:
        message: Message of the InvalidError or DeniedError.
    """
    flags = missing_flags(message)
    if flags:
        keys = sorted({flag.key for flag in flags.values()})
        lasting = warn_lasting(*{flag.key: flag for flag in flags.values()}.values())
        return Diagnosis(
            cause="flag",
            message=(
                f"Knative accepts {', '.join(flags)} only if {' and '.join(keys)} is enabled in its ConfigMap "
                "config-features"
            )
            + (f" ({lasting})" if lasting else ""),
            fix=enable_command(*{flag.key: flag for flag in flags.values()}.values()),
            final=True,
        )
    if _NO_NAME in message:
        webhook = _WEBHOOK.search(message)
        return Diagnosis(
            cause="image",
            message=f"Knative can't read the container image's name: {quote(webhook[2] if webhook else message)}",
            fix="set knative.image in eaves.yaml to REPOSITORY@sha256:..., as eaves package prints it",
            final=True,
        )
    return explain_admission(message, namespace="")


def explain_admission(message: str, *, namespace: str) -> Diagnosis | None:
    """Explain why a pod was refused; return None for an unknown message.

    Args:
        message: Message of a Deployment's condition ReplicaFailure, or of a Revision's with the reason FailedCreate.
        namespace: Namespace of the pod; empty leaves it out of commands.
    """
    where = f"-n {namespace} " if namespace else ""
    if (found := _POD_SECURITY.search(message)) is not None:
        return _pod_security(found[1], quote(found[2], end=False), namespace)
    if (found := _QUOTA.search(message)) is not None:
        return Diagnosis(
            cause="refused",
            message=f"the quota {found[1]} of the namespace is used up: {quote(found[2])}",
            fix=f"kubectl {where}describe resourcequota {found[1]}; raise the quota, or lower knative.cpu, "
            "knative.memory or scale.max in eaves.yaml",
            final=False,  # there may be room once the old revision's pod is gone
        )
    if (found := _UNSPECIFIED.search(message)) is not None:
        return _unspecified(found[1], quote(found[2]), where)
    if (found := _LIMIT.search(message)) is not None:
        return Diagnosis(
            cause="refused",
            message=f"a limit range of the namespace refuses the pod: {quote(found[0])}",
            fix=f"kubectl {where}describe limitrange; change knative.cpu, knative.memory and their limits in "
            "eaves.yaml, or the limit range; Knative's sidecar requests 25m CPU",
            final=True,
        )
    return None


def explain_refusal(message: str, *, namespace: str) -> Diagnosis:
    """Explain why the cluster refused a pod; quote the message when its kind is unknown."""
    known = explain_admission(message, namespace=namespace)
    if known is not None:
        return known
    webhook = _WEBHOOK.search(message)
    who = f"the webhook {webhook[1]}" if webhook else "the cluster"
    return Diagnosis(
        cause="refused",
        message=f"{who} refuses the pod: {quote(webhook[2] if webhook else message)}",
        fix=f"kubectl -n {namespace} get events --field-selector reason=FailedCreate",
        final=False,
    )


def _pod_security(level: str, violations: str, namespace: str) -> Diagnosis:
    lower = "baseline" if level.startswith("restricted") else "privileged"
    shown = namespace or "NAMESPACE"
    return Diagnosis(
        cause="refused",
        message=f"the namespace enforces the Pod Security level {level}, which refuses the pod: {violations}",
        fix=f"deploy into a namespace of its own (namespace of the site in eaves.yaml), or: kubectl label namespace "
        f"{shown} --overwrite pod-security.kubernetes.io/enforce={lower}",
        final=True,
    )


def _unspecified(quota: str, missing: str, where: str) -> Diagnosis:
    """Explain a quota that requires every container to name its resources, and the fix for each container without them.

    Containers of Eaves have requests and may lack limits; Knative's sidecar lacks both.
    """
    fixes = []
    if _SIDECAR.search(missing):
        patch = f'{{"data":{{"{RESOURCE_DEFAULTS}":"enabled"}}}}'
        fixes.append(f"kubectl -n knative-serving patch configmap config-features --type merge -p '{patch}'")
    fixes += [
        f"set knative.{resource}_limit in eaves.yaml"
        for resource in ("cpu", "memory")
        if set(_unlimited(missing, f"limits.{resource}")) - {SIDECAR}
    ]
    return Diagnosis(
        cause="refused",
        message=f"the quota {quota} of the namespace requires every container to specify {missing}",
        fix=", and ".join(fixes) or f"kubectl {where}describe resourcequota {quota}",
        final=True,
    )


def _unlimited(missing: str, resource: str) -> list[str]:
    """Return the containers that a quota's message names for a resource.

    An example of a message is `limits.cpu for: a,b; limits.memory for: a`.
    """
    found = re.search(rf"{re.escape(resource)} for: ([^;]+)", missing)
    return found[1].strip().split(",") if found else []

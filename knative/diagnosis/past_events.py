"""Events about pods that no longer exist, which explain why a revision failed after Knative scaled it to zero.

The statuses of those pods are gone with them. Events are kept for an hour unless the cluster sets another time. Source:
kube-apiserver, --event-ttl; reasons as in `knative.diagnosis.pods`, FailedCreate from the ReplicaSet controller,
FailedScheduling from the scheduler.
"""

from __future__ import annotations

import re

from knative.diagnosis.admission import explain_admission
from knative.diagnosis.crashes import explain_configuration, explain_start
from knative.diagnosis.evidence import Diagnosis, FunctionEvidence, Object, name_of, quote, seen_at
from knative.diagnosis.image_pulls import ImagePull, explain_pull
from knative.diagnosis.scheduling import explain_scheduling

_PULL = re.compile(r'Failed to pull image "([^"]+)": (.*)', re.DOTALL)
_ERROR = re.compile(r"Error: (.*)", re.DOTALL)
_NO_REASON = re.compile(r"Error: (ErrImagePull|ImagePullBackOff)")
_START = re.compile(r"failed to create (containerd )?task|container create failed")


def explain_history(evidence: FunctionEvidence) -> Diagnosis | None:
    """Explain why a revision failed, from the newest Event about its former pods that has a known reason."""
    prefix = f"{name_of(evidence.revision or {})}-deployment-"
    about = [one for one in evidence.events if str(one.get("involvedObject", {}).get("name", "")).startswith(prefix)]
    for event in sorted(about, key=seen_at, reverse=True):
        found = _explain(evidence, event)
        if found is not None:
            return found
    return None


def _explain(evidence: FunctionEvidence, event: Object) -> Diagnosis | None:
    reason, message = str(event.get("reason", "")), str(event.get("message", ""))
    if reason == "FailedScheduling":
        template = (evidence.deployment or {}).get("spec", {}).get("template", {})
        return explain_scheduling(message, {**template, "metadata": {"namespace": evidence.namespace}})
    if reason == "FailedCreate":
        return explain_admission(message, namespace=evidence.namespace)
    if reason in {"FailedMount", "FailedAttachVolume"}:
        return Diagnosis(
            cause="configuration",
            message=f"a volume can't be mounted: {quote(message)}",
            fix=f"kubectl -n {evidence.namespace} get events --field-selector reason={reason}",
            final=False,
        )
    if reason != "Failed" or _NO_REASON.fullmatch(message):
        return None
    if (pull := _PULL.fullmatch(message)) is not None:
        secrets = (evidence.revision or {}).get("spec", {}).get("imagePullSecrets") or ()
        return explain_pull(
            ImagePull(
                image=pull[1],
                reason="ErrImagePull",
                message=pull[2],
                namespace=evidence.namespace,
                secrets=[str(secret.get("name", "")) for secret in secrets],
                sidecar=pull[1] != evidence.container.get("image"),
                node=str((event.get("source") or {}).get("host") or "NODE"),
            )
        )
    if (error := _ERROR.fullmatch(message)) is not None:
        if _START.search(message):
            return explain_start("StartError", error[1], str(evidence.container.get("image", "")))
        return explain_configuration(error[1], evidence.namespace)
    return None

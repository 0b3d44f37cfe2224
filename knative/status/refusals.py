"""Explanations of what others say about a pod or an object: kubelets, the scheduler, the API server, webhooks, Knative.

Only the texts distinguish the reasons. Each table is read from the top; but for `_ADMISSION`, its last row fits every
text.

Source: Kubernetes 1.36, pkg/kubelet/images/image_manager.go and types.go; containerd 1.7 and 2.x, CRI-O's
containers/image and Docker for the texts that follow the kubelet's; Knative Serving 1.23, pkg/reconciler/revision/
background.go (a tag that can't be resolved); pkg/scheduler/framework/types.go (FitError.Error) and the ErrReason
constants of its plugins; apiserver/pkg/admission/plugin/resourcequota/controller.go, pkg/quota/v1/evaluator/core/
pods.go, plugin/pkg/admission/limitranger/admission.go, pod-security-admission/admission/admission.go; Knative's
pkg/apis/field_error.go, pkg/apis/config/features.go and pkg/apis/serving/fieldmask.go (the flag of each field).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eaves.errors import OciError
from eaves.oci.descriptor import parse_reference
from knative.client.kinds import Object
from knative.resources.pod import FIELDS
from knative.status.conditions import Diagnosis, quote

PULLS = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed", "ContainerMissing",
})  # fmt: skip
"""Reasons in the status of a container whose container image can't be pulled, or of a Revision whose tag can't be
resolved."""
PACKAGE = "eaves package ARTIFACT -t {repository} --base BASE, then set knative.image in eaves.yaml to the printed name"
PLATFORMS = PACKAGE.replace("BASE,", "BASE --platform linux/amd64 --platform linux/arm64,")
_LOGIN = (
    "kubectl -n {namespace} create secret docker-registry registry --docker-server={host} --docker-username=USER "
    "--docker-password=PASSWORD, then set knative.pod.imagePullSecrets in eaves.yaml to [{{name: registry}}]; a Secret "
    "that is named there must have an entry for {host}"
)
ARCHITECTURE = "exec format error"
ROOM = "kubectl describe nodes | grep -A8 'Allocated resources'"


@dataclass(frozen=True, slots=True)
class _Known:
    """A known text: its pattern, and the message and fix for it, in which groups of the pattern may be named.

    `final` and `key` are those of `Diagnosis`.
    """

    text: str
    message: str
    fix: str
    final: bool = False
    key: str = ""


_PULLING = (
    _Known(
        r"no match for platform|no matching manifest for|no image found .* for arch",
        "{said}",
        PLATFORMS,
        final=True,
        key="package",
    ),
    _Known(
        r"x509:|server gave HTTP response to HTTPS client|first record does not look",
        "{said}",
        "write the registry's certificate authority, or that it uses plain HTTP, into "
        "/etc/containerd/certs.d/{host}/hosts.toml of each node (k3s: /etc/rancher/k3s/registries.yaml)",
        final=True,
    ),
    _Known(
        r"(?i)dial tcp|i/o timeout|no such host|connection re(fused|set)|no route to host|deadline|timed? ?out"
        r"|unreachable|unexpected EOF|: EOF|RegistryUnavailable|no space left|toomanyrequests|429 Too Many"
        r"|\b50[0-4] (Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time)",
        "{said}",
        "run on the node: curl -I https://{host}/v2/   # the registry must answer 200 or 401",
    ),
    _Known(
        r"(?i)\b40[13]\b|unauthorized|denied|insufficient_scope|authorization|basic auth", "{said}", _LOGIN, final=True
    ),
    _Known(
        r"(?i)not found|manifest unknown|name unknown|\b404\b|not present with pull policy|InvalidImageName"
        r"|invalid reference format|couldn't parse image|signature validation failed",
        "{said}",
        PACKAGE,
        final=True,
        key="package",
    ),
    _Known("", "{said}", "kubectl -n {namespace} get events --field-selector reason=Failed"),
)
"""A registry may become unreachable while a token is fetched, and many messages contain `not found`."""
_UNPLACED = "the pod can't be scheduled on any node: {said}"
_SCHEDULING = (
    _Known(
        r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim \"(?P<claim>[^\"]+)\""
        r"|available persistent volumes to bind|PersistentVolume's node affinity|bound to non-existent pv"
        r"|no available volume zone|enough free storage",
        "a volume that the pod needs does not exist: {said}",
        "kubectl -n {namespace} get persistentvolumeclaims {claim}; volumes are created only if the cluster has a "
        "default storage class (kubectl get storageclasses)",
    ),
    # A device comes before a selector, which no node but one fits of a DaemonSet's pod.
    _Known(
        r"\d+ Insufficient (?P<device>[a-z0-9.-]*/[a-z0-9./-]*[a-z0-9])",
        "the pod can't be scheduled on any node: it requests {device}; {said}",
        "kubectl describe nodes | grep {device} shows where a device plugin provides it; `pod.nodeSelector` of the "
        "source in eaves.yaml selects nodes by their labels",
    ),
    # Reasons that are permanent on every node come first; a full node may have room tomorrow.
    _Known(
        r"node affinity/selector|node selector",
        _UNPLACED,
        "kubectl get nodes -l {selector}; if no node is listed: kubectl label node NODE {labels}, or change "
        "nodeSelector of knative.pod, or of pod of the site or source, in eaves.yaml",
    ),
    _Known(
        r"\d+ Insufficient (?P<resource>cpu|memory)",
        _UNPLACED,
        "lower knative.pod.resources.requests.{resource} in eaves.yaml, or free resources on a node: " + ROOM,
        key="room",
    ),
    _Known(
        r"untolerated taints? ?\{(?P<key>[^:}]+)|untolerated taint|didn't tolerate",
        _UNPLACED,
        "set knative.pod.tolerations in eaves.yaml to [{{key: {key}, operator: Exists}}], or remove the taint: "
        "kubectl taint node NODE {key}-",
    ),
    _Known("", _UNPLACED, "kubectl describe nodes"),
)
_SIDECAR_LIMITS = (
    "kubectl -n knative-serving patch configmap config-features --type merge -p "
    """'{{"data":{{"queueproxy.resource-defaults":"enabled"}}}}'"""
)
_ADMISSION = (
    _Known(
        r"(?P<said>Failed to parse image reference.*)",
        "Knative can't read the container image's name: {said}",
        "set knative.image in eaves.yaml to REPOSITORY@sha256:..., as eaves package prints it",
        final=True,
    ),
    _Known(
        r'existing (placeholder )?(?P<kind>\w+) "?(?P<name>[^" ]+)"? that we (do not|don\'t) own',
        "the name is in use: {kind} {name} in the namespace {namespace} does not belong to Knative",
        "set another name in eaves.yaml, or, if it is not needed: kubectl -n {namespace} delete {kind} {name}",
        final=True,
    ),
    _Known(
        r'violates PodSecurity "(?P<level>restricted|baseline)(?P<version>[^"]*)": (?P<said>.*)',
        "the namespace enforces the Pod Security level {level}{version}, which refuses the pod: {said}",
        "deploy into a namespace of its own (namespace of the site in eaves.yaml), or: kubectl label namespace "
        "{namespace} --overwrite pod-security.kubernetes.io/enforce=baseline (privileged for folders of nodes)",
        final=True,
    ),
    _Known(
        r"exceeded quota: (?P<quota>\S+), (?P<said>.*)",
        "the quota {quota} of the namespace is used up: {said}",
        "kubectl -n {namespace} describe resourcequota {quota}; raise the quota, or lower "
        "knative.pod.resources or scale.max in eaves.yaml",
    ),
    _Known(
        r"failed quota: (?P<quota>\S+): must specify (?P<said>.*)",
        "the quota {quota} of the namespace requires every container to specify {said}",
        f"set knative.pod.resources.limits in eaves.yaml; for queue-proxy: {_SIDECAR_LIMITS}",
        final=True,
    ),
    _Known(
        r"(?P<said>(maximum|minimum) \w+ usage per \w+ is.*"
        r"|is invalid: .*must be less than or equal to .* limit.*)",
        "a limit range of the namespace refuses the pod: {said}",
        "kubectl -n {namespace} describe limitrange; change knative.pod.resources in "
        "eaves.yaml, or the limit range; Knative's sidecar requests 25m CPU",
        final=True,
    ),
    _Known(
        r'failed calling webhook "(?P<webhook>[^"]+)"',
        "the webhook {webhook} doesn't answer, so the cluster accepts no such object: {said}",
        "kubectl get pods --all-namespaces --field-selector=status.phase!=Running shows the pods that don't run",
    ),
)
_REFUSED = (
    _Known(
        r'admission webhook "(?P<webhook>[^"]+)" denied the request: (validation failed: )?(?P<said>.*)',
        "the webhook {webhook} refuses the object: {said}",
        "kubectl -n {namespace} get events --field-selector reason=FailedCreate",
    ),
    _Known(
        "",
        "the cluster refuses the object: {said}",
        "kubectl -n {namespace} get events --field-selector reason=FailedCreate",
    ),
)
_STARTING = (
    _Known(
        ARCHITECTURE,
        "{image} is built for another processor architecture than the node's (exec format error)",
        PLATFORMS,
        final=True,
        key="package",
    ),
    _Known(
        r'(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found',
        "the container needs the {kind} {name}, which does not exist",
        "kubectl -n {namespace} get {kind} {name}; create it, and the pod then starts by itself",
    ),
    _Known(
        r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) [^ ]*/(?P<name>\S+)",
        "the container needs the key {key} of the {kind} {name}, which does not exist",
        "kubectl -n {namespace} get {kind} {name}; add the key, and the pod then starts by itself",
    ),
    _Known(
        r"run as root|breaks non-root policy|non-numeric user",
        "the container image runs as root, which the cluster does not allow: {said}",
        PACKAGE,
        final=True,
        key="package",
    ),
    _Known(
        r"executable file not found|no such file or directory|permission denied",
        "the container can't be started: {said}",
        PACKAGE,
        final=True,
        key="package",
    ),
    _Known(
        "", "the container can't be started: {said}", "kubectl -n {namespace} get events --field-selector type=Warning"
    ),
)
_FLAG = "kubernetes.podspec-"
_EMPTY_DIR = "volumes-emptydir"
"""Feature flag of the one kind of volume that a function has and Knative can refuse; it may be disabled again.

Source: knative/serving, config/core/configmaps/features.yaml."""


def explain_pull(image: str, said: str, *, node: str, namespace: str) -> Diagnosis:
    """Explain why a container image can't be pulled; the explanation quotes the node or the controller.

    Args:
        image: Name of the container image.
        said: Reason and message of the waiting container or of the Revision.
        node: Node that failed to pull; empty when Knative's controller failed to resolve the tag.
    """
    try:
        host = parse_reference(image).host
    except OciError:
        host = image.partition("/")[0]
    reason, _, message = said.partition(" ")
    tail = re.split(r'failed to resolve (?:reference "[^"]*"|image to digest): ', message or reason)[-1]
    tail = re.sub(r'^failed to do request: [A-Z][a-z]+ "[^"]*": ', "", tail).replace(f"{image}: ", "")
    known = said.replace(image, "IMAGE")  # a reference may hold any word of the patterns
    found = _explain("image", _PULLING, known, repository=image.partition("@")[0], host=host, namespace=namespace)
    who = f"node {node}" if node else "Knative's controller"
    shown = f"{who} can't pull the container image {image}: {quote(tail)}"
    return replace(found, message=shown)


def explain_scheduling(said: str, spec: Object, namespace: str) -> Diagnosis:
    """Explain why no node accepts a pod, from the scheduler's message and the pod's spec.

    The diagnosis is never final, since nodes may be added or get free resources.
    """
    labels = [f"{key}={value}" for key, value in (spec.get("nodeSelector") or {"LABEL": "VALUE"}).items()]
    # What the scheduler says about pods that it could evict is never the reason.
    said = re.sub(r"(no new claims to deallocate|preemption: ).*", "", said, flags=re.DOTALL)
    return _explain(
        "unschedulable", _SCHEDULING, said, labels=" ".join(labels), selector=",".join(labels), namespace=namespace
    )


def explain_start(said: str, image: str, namespace: str) -> Diagnosis:
    """Explain why a container can't be created or started, such as a missing Secret or command."""
    repository = image.partition("@")[0]
    cause = "image" if ARCHITECTURE in said else "configuration"
    return _explain(cause, _STARTING, said, image=image, repository=repository, namespace=namespace)


def explain_refusal(said: str, namespace: str) -> Diagnosis:
    """Explain why the cluster refused an object or a pod."""
    return explain_denial(said, namespace) or _explain("refused", _REFUSED, said, namespace=namespace)


def explain_denial(said: str, namespace: str) -> Diagnosis | None:
    """Explain why the cluster refused an object, if its feature flags, quotas, policies or webhooks are the reason."""
    refused = ", ".join(re.findall(r"must not set the field\(s\): ([^\n]*)", said))
    fields = [path.strip(" .").rpartition(".")[2].partition("[")[0] for path in refused.split(",")]
    flags = {field: field.lower() for field in fields if field in FIELDS}
    if "EmptyDir volume support is disabled" in said:
        flags["emptyDir"] = _EMPTY_DIR
    if flags:
        keys = [f"{_FLAG}{flag}" for flag in dict.fromkeys(flags.values())]
        lasting = [key for key in keys if not key.endswith(_EMPTY_DIR)]
        warn = f" ({' and '.join(lasting)} cannot safely be disabled once enabled)" if lasting else ""
        patch = json.dumps({"data": dict.fromkeys(keys, "enabled")})
        return Diagnosis(
            "flag",
            f"Knative accepts {', '.join(flags)} only if {' and '.join(keys)} is enabled in its "
            f"ConfigMap config-features{warn}",
            f"kubectl -n knative-serving patch configmap config-features --type merge -p '{patch}'",
            final=True,
        )
    known = any(re.search(row.text, said, re.DOTALL) for row in _ADMISSION)
    return _explain("refused", _ADMISSION, said, namespace=namespace) if known else None


def _explain(cause: str, rows: Sequence[_Known], said: str, **values: str) -> Diagnosis:
    """Return the diagnosis of the first row whose pattern is found in a text."""
    row, found = next((row, found) for row in rows if (found := re.search(row.text, said, re.DOTALL)) is not None)
    groups = {name: text or name.upper() for name, text in found.groupdict().items()}
    shown = {**values, **groups, "said": quote(groups.get("said", said))}
    return Diagnosis(cause, row.message.format(**shown), row.fix.format(**shown), final=row.final, key=row.key)

"""Container images that nodes can't fetch: what kubelets, container runtimes and Knative's controller say about it.

Only texts tell the reasons apart. Source: Kubernetes 1.36, pkg/kubelet/images/image_manager.go (EnsureImageExists,
evalCRIPullErr) and types.go; containerd 1.7 and 2.x, CRI-O's containers/image and Docker for the texts after it;
Knative Serving 1.23, pkg/reconciler/revision/background.go (processWorkItem) for a tag that can't be resolved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eaves.errors import OciError
from eaves.oci.reference import parse_reference
from knative.diagnosis.evidence import Diagnosis, said

REASONS = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed", "ContainerMissing",
})  # fmt: skip
"""Reasons of a waiting container, and of a Revision whose tag can't be resolved."""
_BARE = re.compile(r'Back-off pulling image "[^"]*"')
_FAILED = re.compile(r'Failed to pull image "[^"]*": (.*)', re.DOTALL)

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("signature", re.compile(r"SignatureValidationFailed|signature validation failed", re.IGNORECASE)),
    ("image-name", re.compile(r"InvalidImageName|invalid reference format|couldn't parse image|parse image name")),
    ("architecture", re.compile(r"no match for platform|no matching manifest for|no image found .* for architecture")),
    ("disk-full", re.compile(r"no space left on device")),
    ("registry-untrusted", re.compile(r"x509:|server gave HTTP response to HTTPS client|first record does not look")),
    ("registry-busy", re.compile(r"toomanyrequests|429 Too Many Requests", re.IGNORECASE)),
    (
        "registry-unreachable",
        re.compile(
            r"dial tcp|i/o timeout|no such host|server misbehaving|connection re(fused|set)|no route to host|deadline"
            r"|timed? ?out|network is unreachable|unexpected EOF|: EOF|registry is unavailable|RegistryUnavailable"
            r"|\b50[0-4] (Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time)",
            re.IGNORECASE,
        ),
    ),
    (
        "image-denied",
        re.compile(
            r"\b40[13]\b (Unauthorized|Forbidden)|unauthorized|access denied|\bdenied\b|insufficient_scope"
            r"|authorization failed|no basic auth|authentication required",
            re.IGNORECASE,
        ),
    ),
    (
        "image-missing",
        re.compile(
            r"not found|manifest unknown|name unknown|NAME_UNKNOWN|\b404 Not Found|not present with pull policy"
        ),
    ),
)
"""In this order: a registry that can't be reached may be on the way to a token, and `not found` is in many texts."""
_TRANSIENT = frozenset({"registry-unreachable", "registry-busy", "disk-full"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A container image that didn't arrive.

    Attributes:
        image: Its reference.
        reason: Of the waiting container or the Revision.
        message: What was said.
        namespace: Of the pod.
        secrets: Names of the pull secrets that were used.
        sidecar: It is Knative's own.
        node: That tried; empty: Knative's controller did.
    """

    image: str
    reason: str
    message: str
    namespace: str
    secrets: Sequence[str] = ()
    sidecar: bool = False
    node: str = ""

    @property
    def host(self) -> str:
        """Of the registry."""
        try:
            return parse_reference(self.image).host
        except OciError:
            return self.image.partition("/")[0]


def told_by_events(message: str, events: Sequence[str]) -> str:
    """A back-off's message, with the reason from an event where the kubelet (before 1.33) leaves it out."""
    if not _BARE.fullmatch(message.strip()):
        return message
    return next((found[1] for text in reversed(events) if (found := _FAILED.fullmatch(text))), message)


def explain_pull(pull: Pull) -> Diagnosis:
    """Why a container image can't be fetched."""
    words = f"{pull.reason} {pull.message}".replace(pull.image, "IMAGE")  # a name may hold any of the words below
    cause = next((cause for cause, pattern in _PATTERNS if pattern.search(words)), "")
    what = "the container image of Knative's sidecar" if pull.sidecar else "the container image"
    who = f"node {pull.node}" if pull.node else "Knative's controller"
    if not cause:
        return Diagnosis(
            cause="registry-unreachable",
            message=f"{who} can't fetch {what} {pull.image}: {said(_last(pull))}",
            fix=f"kubectl -n {pull.namespace} get events --field-selector reason=Failed",
            final=False,
        )
    message = _MESSAGES[cause].format(
        what=what, image=pull.image, host=pull.host, who=who, node=pull.node or "the node"
    )
    return Diagnosis(
        cause=cause,
        message=f"{message}: {said(_last(pull))}",
        fix=_fix(cause, pull),
        final=cause not in _TRANSIENT,
    )


_MESSAGES = {
    "signature": "{who} doesn't take {what} {image}, whose signature isn't the one its policy wants",
    "image-name": "{image} is not the name of a container image",
    "architecture": "{what} {image} has no variant for the processor of {node}",
    "disk-full": "the disk of {node} has no room for {what} {image}",
    "registry-untrusted": "{who} doesn't trust the registry {host}",
    "registry-busy": "the registry {host} limits how often {who} may ask for {image}",
    "registry-unreachable": "{who} doesn't reach the registry {host} for {what}",
    "image-denied": "the registry {host} doesn't let {who} read {what} {image}, or it isn't there",
    "image-missing": "the registry {host} doesn't have {what} {image}",
}


def _fix(cause: str, pull: Pull) -> str:
    if pull.sidecar and cause in {"image-missing", "image-denied", "registry-untrusted"}:
        return "kubectl -n knative-serving get configmap config-deployment -o jsonpath='{.data.queue-sidecar-image}'"
    repository = pull.image.partition("@")[0]
    if cause == "image-denied":
        return _secret_fix(pull)
    return {
        "signature": f"eaves sign {pull.image} --key PRIVATE_KEY",
        "image-name": "set knative.image in eaves.yaml to REPOSITORY@sha256:..., as eaves package prints it",
        "architecture": f"eaves package ARTIFACT -t {repository} --base BASE --platform linux/amd64 --platform "
        "linux/arm64, then set knative.image in eaves.yaml to what it prints",
        "disk-full": f"kubectl describe node {pull.node or 'NODE'}; free its disk, unused container images go by "
        "themselves then",
        "registry-untrusted": "put its certificate, or that it speaks plain HTTP, into "
        f"/etc/containerd/certs.d/{pull.host}/hosts.toml of each node (k3s: /etc/rancher/k3s/registries.yaml)",
        "registry-busy": "wait, or use a mirror that doesn't, or set knative.pull_secret in eaves.yaml to an account "
        "that may ask more often",
        "registry-unreachable": f"from the node: curl -I https://{pull.host}/v2/ - it must answer 200 or 401",
        "image-missing": f"eaves package ARTIFACT -t {repository} --base BASE, then set knative.image in eaves.yaml to "
        "what it prints",
    }[cause]


def _secret_fix(pull: Pull) -> str:
    if pull.secrets:
        return (
            f"kubectl -n {pull.namespace} get secret {pull.secrets[0]} - it must be there, of type "
            f"kubernetes.io/dockerconfigjson, and know {pull.host}"
        )
    return (
        f"kubectl -n {pull.namespace} create secret docker-registry registry --docker-server={pull.host} "
        "--docker-username=USER --docker-password=PASSWORD, then set knative.pull_secret in eaves.yaml to registry"
    )


def _last(pull: Pull) -> str:
    """The end of nested messages, where the reason is."""
    tail = re.split(r'failed to resolve (?:reference "[^"]*"|image to digest): ', pull.message)[-1]
    tail = re.sub(r'^failed to do request: [A-Z][a-z]+ "[^"]*": ', "", tail)
    return tail.replace(f"{pull.image}: ", "")

"""Explanations of container images that can't be pulled, from messages of kubelets, runtimes and Knative's controller.

Only the texts distinguish the reasons. Source: Kubernetes 1.36, pkg/kubelet/images/image_manager.go (EnsureImageExists,
evalCRIPullErr) and types.go; containerd 1.7 and 2.x, CRI-O's containers/image and Docker for the texts that follow the
kubelet's; Knative Serving 1.23, pkg/reconciler/revision/background.go (processWorkItem) for a tag that can't be
resolved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eaves.errors import OciError
from eaves.oci.descriptor import parse_reference
from knative.diagnosis.evidence import Diagnosis, quote

REASONS = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed", "ContainerMissing",
})  # fmt: skip
"""Reasons in the status of a container whose container image can't be pulled, or of a Revision whose tag can't be
resolved."""
_BARE = re.compile(r'Back-off pulling image "[^"]*"')
_FAILED = re.compile(r'Failed to pull image "[^"]*": (.*)', re.DOTALL)

_UNREACHABLE, _UNTRUSTED, _DENIED, _PLATFORM, _MISSING = "unreachable", "untrusted", "denied", "platform", "missing"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (_PLATFORM, re.compile(r"no match for platform|no matching manifest for|no image found .* for architecture")),
    (_UNTRUSTED, re.compile(r"x509:|server gave HTTP response to HTTPS client|first record does not look")),
    (
        _UNREACHABLE,
        re.compile(
            r"dial tcp|i/o timeout|no such host|connection re(fused|set)|no route to host|deadline|timed? ?out"
            r"|unreachable|unexpected EOF|: EOF|RegistryUnavailable|no space left|toomanyrequests|429 Too Many"
            r"|\b50[0-4] (Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time)",
            re.IGNORECASE,
        ),
    ),
    (
        _DENIED,
        re.compile(r"\b40[13]\b|unauthorized|denied|insufficient_scope|authorization|basic auth", re.IGNORECASE),
    ),
    (
        _MISSING,
        re.compile(
            r"not found|manifest unknown|name unknown|\b404\b|not present with pull policy|InvalidImageName"
            r"|invalid reference format|couldn't parse image|signature validation failed",
            re.IGNORECASE,
        ),
    ),
)
"""Patterns of messages by the kind of failure, which decides the fix and whether the fault may disappear by itself.

The diagnosis quotes the message in any case. The order of the patterns matters: a registry may become unreachable while
a token is fetched, and many messages contain `not found`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePull:
    """A pull of a container image that failed.

    Attributes:
        image: Name of the container image.
        reason: Reason of the waiting container or of the Revision.
        message: Message of the waiting container or of the Revision.
        namespace: Namespace of the pod.
        secrets: Names of the pull secrets that were used.
        sidecar: Whether the container is Knative's sidecar.
        node: Node that failed to pull; empty when Knative's controller failed to resolve the tag.
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
        """Host of the registry that the container image is pulled from."""
        try:
            return parse_reference(self.image).host
        except OciError:
            return self.image.partition("/")[0]


def reason_from_events(message: str, events: Sequence[str]) -> str:
    """Return the message of a failed pull with its reason.

    Kubelets before 1.33 leave the reason out of the container's message; it is then taken from an Event.
    """
    if not _BARE.fullmatch(message.strip()):
        return message
    return next((found[1] for text in reversed(events) if (found := _FAILED.fullmatch(text))), message)


def explain_pull(pull: ImagePull) -> Diagnosis:
    """Explain why a container image can't be pulled; the explanation quotes the node or the controller."""
    words = f"{pull.reason} {pull.message}".replace(pull.image, "IMAGE")  # a reference may hold any of these words
    kind = next((kind for kind, pattern in _PATTERNS if pattern.search(words)), "")
    what = "the container image of Knative's sidecar" if pull.sidecar else "the container image"
    who = f"node {pull.node}" if pull.node else "Knative's controller"
    return Diagnosis(
        cause="image",
        message=f"{who} can't pull {what} {pull.image}: {quote(_last(pull))}",
        fix=_fix(kind, pull),
        final=kind not in {"", _UNREACHABLE},
    )


def _fix(kind: str, pull: ImagePull) -> str:
    repository = pull.image.partition("@")[0]
    if kind == _UNREACHABLE:
        return f"run on the node: curl -I https://{pull.host}/v2/   # the registry must answer 200 or 401"
    if pull.sidecar:
        return "kubectl -n knative-serving get configmap config-deployment -o jsonpath='{.data.queue-sidecar-image}'"
    if kind == _DENIED:
        return _secret_fix(pull)
    return {
        _PLATFORM: (
            f"eaves package ARTIFACT -t {repository} --base BASE --platform linux/amd64 --platform "
            "linux/arm64, then set knative.image in eaves.yaml to the printed name"
        ),
        _UNTRUSTED: (
            "write the registry's certificate authority, or that it uses plain HTTP, into "
            f"/etc/containerd/certs.d/{pull.host}/hosts.toml of each node (k3s: "
            "/etc/rancher/k3s/registries.yaml)"
        ),
        _MISSING: (
            f"eaves package ARTIFACT -t {repository} --base BASE, then set knative.image in eaves.yaml to "
            "the printed name"
        ),
    }.get(kind, f"kubectl -n {pull.namespace} get events --field-selector reason=Failed")


def _secret_fix(pull: ImagePull) -> str:
    if pull.secrets:
        return (
            f"kubectl -n {pull.namespace} get secret {pull.secrets[0]}   # it must exist, have the type "
            f"kubernetes.io/dockerconfigjson, and have an entry for {pull.host}"
        )
    return (
        f"kubectl -n {pull.namespace} create secret docker-registry registry --docker-server={pull.host} "
        "--docker-username=USER --docker-password=PASSWORD, then set knative.pull_secret in eaves.yaml to registry"
    )


def _last(pull: ImagePull) -> str:
    """Return the innermost of the nested messages of a failed pull, which holds the reason."""
    tail = re.split(r'failed to resolve (?:reference "[^"]*"|image to digest): ', pull.message)[-1]
    tail = re.sub(r'^failed to do request: [A-Z][a-z]+ "[^"]*": ', "", tail)
    return tail.replace(f"{pull.image}: ", "")

"""Why a container image doesn't arrive, out of the words of kubelets, container runtimes and Knative's controller."""

from __future__ import annotations

import pytest

from knative.diagnosis import FunctionEvidence, diagnose_function
from knative.diagnosis.image_pulls import ImagePull, explain_pull
from tests.cluster.expanded import (
    IMAGE,
    container,
    deployment,
    event,
    failed_revision,
    failed_service,
    pod,
    revision,
    service,
    waiting,
)

CONTAINERD = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": '
PUSH, PLATFORM, LOGIN = "then set knative.image", "--platform linux/arm64", "docker-registry"
REACH, TRUST = "curl -I", "hosts.toml"
"""Parts of the fixes; some faults that REACH fixes also end by themselves."""
HEAD = 'failed to do request: Head "https://registry.test:5000/v2/flowers/manifests/sha256:0f": '

TEXTS = {
    # containerd 1.7, seen with Kubernetes 1.36
    f"rpc error: code = NotFound desc = {CONTAINERD}{IMAGE}: not found": PUSH,
    f"{CONTAINERD}{HEAD}dial tcp: lookup registry.test on 10.0.0.53:53: no such host": REACH,
    f"{CONTAINERD}{HEAD}dial tcp 10.1.2.3:5000: connect: connection refused": REACH,
    f"{CONTAINERD}{HEAD}dial tcp 10.1.2.3:5000: i/o timeout": REACH,
    f"{CONTAINERD}{HEAD}net/http: TLS handshake timeout": REACH,
    f"{CONTAINERD}{HEAD}tls: failed to verify certificate: x509: certificate signed by unknown authority": (TRUST),
    f"{CONTAINERD}{HEAD}http: server gave HTTP response to HTTPS client": TRUST,
    f"{CONTAINERD}pull access denied, repository does not exist or may require authorization: server message: "
    "insufficient_scope: authorization failed": LOGIN,
    f"{CONTAINERD}failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
    "https://registry.test:5000/token: 403 Forbidden": LOGIN,
    f'{CONTAINERD}failed to authorize: failed to fetch anonymous token: Get "https://auth.test/token": dial tcp: '
    "lookup auth.test: i/o timeout": REACH,
    f"{CONTAINERD}unexpected status from HEAD request to https://registry.test:5000/v2/: 401 Unauthorized": (LOGIN),
    f"{CONTAINERD}unexpected status from HEAD request to https://registry.test:5000/v2/: 503 Service Unavailable": (
        REACH
    ),
    f"{CONTAINERD}failed to copy: httpReadSeeker: failed open: unexpected status code https://registry.test:5000/v2/: "
    "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit": REACH,
    f'failed to pull and unpack image "{IMAGE}": no match for platform in manifest: not found': PLATFORM,
    f'failed to pull and unpack image "{IMAGE}": failed to extract layer sha256:ab: write /var/lib: no space left on '
    "device: unknown": REACH,
    # CRI-O
    f"reading manifest sha256:0f in {IMAGE}: manifest unknown: manifest unknown": PUSH,
    f"initializing source {IMAGE}: reading manifest: unauthorized: authentication required": LOGIN,
    f"initializing source {IMAGE}: pinging container registry registry.test:5000: Get "
    '"https://registry.test:5000/v2/": '
    "dial tcp 10.1.2.3:5000: connect: no route to host": REACH,
    "SignatureValidationFailed: image pull failed because the signature validation failed: no key": PUSH,
    # Docker
    "Error response from daemon: manifest for registry.test:5000/flowers not found: manifest unknown": PUSH,
    "Error response from daemon: no basic auth credentials": LOGIN,
}


def pull(
    message: str, *, reason: str = "ErrImagePull", sidecar: bool = False, secrets: tuple[str, ...] = ()
) -> ImagePull:
    return ImagePull(
        image=IMAGE,
        reason=reason,
        message=message,
        namespace="barn",
        node="node1",
        sidecar=sidecar,
        secrets=secrets,
    )


@pytest.mark.parametrize(("text", "fix"), TEXTS.items())
def test_every_text_has_its_fix(text: str, fix: str) -> None:
    for message in (text, f'Back-off pulling image "{IMAGE}": ErrImagePull: {text}'):
        found = explain_pull(pull(message))
        assert found.cause == "image"
        assert fix in found.fix
        assert found.final is (fix != REACH)


def test_the_words_of_the_puller_are_shown() -> None:
    found = explain_pull(pull(f"{CONTAINERD}{HEAD}dial tcp: lookup registry.test on 10.0.0.53:53: no such host"))
    words = "dial tcp: lookup registry.test on 10.0.0.53:53: no such host"
    assert found.message == f"node node1 can't pull the container image {IMAGE}: {words}"


def test_the_name_of_a_container_image_is_no_reason() -> None:
    image = "unauthorized.test/x509/not-found@sha256:" + "40" * 32
    found = explain_pull(
        ImagePull(image=image, reason="ErrImagePull", message=f"{image}: something new", namespace="barn", node="node1")
    )
    assert not found.final
    assert "something new" in found.message


def test_what_can_be_mended_is_a_command_or_a_setting() -> None:
    denied = "pull access denied, repository does not exist or may require authorization"
    assert explain_pull(pull(denied)).fix == (
        "kubectl -n barn create secret docker-registry registry --docker-server=registry.test:5000 "
        "--docker-username=USER --docker-password=PASSWORD, then set knative.pull_secret in eaves.yaml to registry"
    )
    assert "get secret mine   # it must exist" in explain_pull(pull(denied, secrets=("mine",))).fix
    missing = explain_pull(pull("manifest unknown"))
    assert missing.message == f"node node1 can't pull the container image {IMAGE}: manifest unknown"
    assert missing.fix.startswith(
        "eaves package ARTIFACT -t registry.test:5000/flowers --base BASE, then set knative.image"
    )


def test_the_sidecar_of_knative_is_not_taken_for_ours() -> None:
    found = explain_pull(pull("manifest unknown", sidecar=True))
    assert "the container image of Knative's sidecar" in found.message
    assert "queue-sidecar-image" in found.fix


def test_a_pod_tells_more_than_its_service() -> None:
    message = f'Back-off pulling image "{IMAGE}": ErrImagePull: {CONTAINERD}{IMAGE}: not found'
    stuck = pod(waiting("ImagePullBackOff", message))
    found = diagnose_function(
        FunctionEvidence(service=service(), revision=revision(), deployment=deployment(), pods=[stuck])
    )
    assert found is not None
    assert (found.cause, found.final) == ("image", True)


def test_a_back_off_without_a_reason_has_one_in_the_events() -> None:
    stuck = pod(waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'))
    events = [
        event("Failed", f'Failed to pull image "{IMAGE}": {CONTAINERD}{HEAD}i/o timeout', at="2026-11-25T09:53:10Z"),
        event("Failed", "Error: ImagePullBackOff", at="2026-11-25T09:53:30Z"),
        event("Failed", f'Failed to pull image "{IMAGE}": {CONTAINERD}{IMAGE}: not found', at="2026-11-25T09:53:20Z"),
        event("Failed", f'Failed to pull image "{IMAGE}": x509: no', at="2026-11-25T09:54:00Z", uid="u-an-older-pod"),
    ]
    found = diagnose_function(FunctionEvidence(service=service(), revision=revision(), pods=[stuck], events=events))
    assert found is not None
    assert found.cause == "image"


def test_a_tag_that_the_controller_cannot_resolve() -> None:
    message = (
        'Unable to fetch image "registry.test:5000/flowers:1": failed to resolve image to digest: HEAD '
        "http://registry.test:5000/v2/flowers/manifests/1: unexpected status code 404 Not Found (HEAD responses have "
        "no body, use GET for details)"
    )
    failed = failed_revision("ContainerHealthy", "ContainerMissing", message)
    found = diagnose_function(FunctionEvidence(service=failed_service(message), revision=failed))
    assert found is not None
    assert (found.cause, found.final) == ("image", True)
    assert "Knative's controller can't pull the container image" in found.message


def test_a_pod_on_its_way_out_tells_nothing() -> None:
    gone = pod(waiting("ErrImagePull", "manifest unknown"), deletionTimestamp="2026-11-25T09:53:00Z")
    assert diagnose_function(FunctionEvidence(service=service(), revision=revision(), pods=[gone])) is None


def test_the_sidecar_that_runs_hides_nothing() -> None:
    stuck = pod(waiting("ErrImagePull", "manifest unknown"), container(name="zz-another"))
    found = diagnose_function(FunctionEvidence(service=service(), revision=revision(), pods=[stuck]))
    assert found is not None
    assert found.cause == "image"

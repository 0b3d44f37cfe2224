"""What is made of the words of kubelets, the scheduler, the API server, webhooks and Knative."""

import pytest

from knative.status.conditions import CAUSES, Diagnosis
from knative.status.refusals import explain_denial, explain_pull, explain_refusal, explain_scheduling, explain_start
from tests.cluster.expanded import IMAGE

CONTAINERD = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": '
HEAD = 'failed to do request: Head "https://registry.test:5000/v2/flowers/manifests/sha256:0f": '
PUSH, PLATFORM, LOGIN, REACH, TRUST = (
    "then set knative.image", "--platform linux/arm64", "docker-registry", "curl -I", "hosts.toml",
)  # fmt: skip
"""Parts of the fixes; some faults that REACH fixes also end by themselves."""
PULLS = {
    # containerd 1.7, seen with Kubernetes 1.36
    f"rpc error: code = NotFound desc = {CONTAINERD}{IMAGE}: not found": PUSH,
    f"{CONTAINERD}{HEAD}dial tcp: lookup registry.test on 10.0.0.53:53: no such host": REACH,
    f"{CONTAINERD}{HEAD}tls: failed to verify certificate: x509: certificate signed by unknown authority": TRUST,
    f"{CONTAINERD}{HEAD}http: server gave HTTP response to HTTPS client": TRUST,
    f"{CONTAINERD}pull access denied, repository does not exist or may require authorization: server message: "
    "insufficient_scope: authorization failed": LOGIN,
    f'{CONTAINERD}failed to authorize: failed to fetch anonymous token: Get "https://auth.test/token": dial tcp: '
    "lookup auth.test: i/o timeout": REACH,
    f'failed to pull and unpack image "{IMAGE}": no match for platform in manifest: not found': PLATFORM,
    # CRI-O and Docker
    f"initializing source {IMAGE}: reading manifest: unauthorized: authentication required": LOGIN,
    "SignatureValidationFailed: image pull failed because the signature validation failed: no key": PUSH,
}
DENIED = 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '
FORBIDDEN = 'pods "flowers-00001-deployment-5c69c499f5-h6mcv" is forbidden: '
PREEMPTION = (
    " no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)


def pull(said: str, image: str = IMAGE, node: str = "node1") -> Diagnosis:
    found = explain_pull(image, f"ErrImagePull {said}", node=node, namespace="barn")
    assert found.cause == "image"
    return found


def test_every_text_of_a_failed_pull_has_its_fix():
    for text, fix in PULLS.items():
        for message in (text, f'Back-off pulling image "{IMAGE}": ErrImagePull: {text}'):
            found = pull(message)
            assert fix in found.fix, text
            assert found.final is (fix != REACH), text


def test_the_words_of_the_puller_are_shown_and_the_name_of_a_container_image_is_no_reason():
    found = pull(f"{CONTAINERD}{HEAD}dial tcp: lookup registry.test on 10.0.0.53:53: no such host")
    words = "dial tcp: lookup registry.test on 10.0.0.53:53: no such host"
    assert found.message == f"node node1 can't pull the container image {IMAGE}: {words}"
    image = "unauthorized.test/x509/not-found@sha256:" + "40" * 32
    assert not pull(f"{image}: something new", image).final
    assert pull("404 Not Found", node="").message.startswith("Knative's controller can't pull the container image")
    assert "an entry for registry.test:5000" in pull("pull access denied").fix


@pytest.mark.parametrize(
    ("said", "message", "fix", "final"),
    [
        (
            f"{FORBIDDEN}exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0",
            "the quota q of the namespace is used up: requested: pods=1, used: pods=0, limited: pods=0",
            "kubectl -n barn describe resourcequota q",
            False,
        ),
        (
            f"{FORBIDDEN}failed quota: q: must specify limits.memory for: user-container",
            "requires every container to specify",
            """in eaves.yaml; for queue-proxy: kubectl -n knative-serving patch""",
            True,
        ),
        (
            f"{FORBIDDEN}maximum cpu usage per Container is 5m, but limit is 250m",
            "a limit range of the namespace refuses the pod: maximum cpu usage",
            "kubectl -n barn describe limitrange",
            True,
        ),
        (
            f'{FORBIDDEN}violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "x")',
            "the Pod Security level restricted:latest, which refuses the pod: allowPrivilegeEscalation != false",
            "kubectl label namespace barn --overwrite pod-security.kubernetes.io/enforce=baseline",
            True,
        ),
        (
            'Internal error occurred: failed calling webhook "w.example": connect: connection refused',
            "the webhook w.example doesn't answer",
            "kubectl get pods --all-namespaces",
            False,
        ),
        (
            'admission webhook "policy.example.com" denied the request: no such team',
            "the webhook policy.example.com refuses the object: no such team",
            "get events --field-selector reason=FailedCreate",
            False,
        ),
        ("something new", "the cluster refuses the object: something new", "kubectl -n barn get events", False),
    ],
)
def test_what_the_cluster_refuses(said: str, message: str, fix: str, final: bool):
    found = explain_refusal(said, "barn")
    assert (found.cause, found.final) == ("refused", final)
    assert message in found.message
    assert fix in found.fix


@pytest.mark.parametrize(
    ("said", "message", "fix"),
    [
        (
            "1 Insufficient cpu",
            "on any node: 0/3 nodes are available: 1 Insufficient cpu",
            "lower knative.pod.resources.requests.cpu in eaves",
        ),
        (
            "1 Insufficient memory, 2 node(s) didn't match Pod's node affinity/selector",
            "affinity/selector",
            "kubectl get nodes -l site=barn,wing=2; if no node is listed: kubectl label node NODE site=barn wing=2",
        ),
        (
            "1 Insufficient squat.ai/video, 2 node(s) didn't match Pod's node affinity/selector",
            "it requests squat.ai/video",
            "`pod.nodeSelector` of the source",
        ),
        (
            "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
            "untolerated taint",
            "set knative.pod.tolerations in eaves.yaml to [{key: node-role.kubernetes.io/control-plane, operator: Exi",
        ),
        ("1 node(s) were unschedulable", "unschedulable", "kubectl describe nodes"),
        (
            'persistentvolumeclaim "photos" not found',
            "a volume that the pod needs does not exist",
            "kubectl -n barn get persistentvolumeclaims photos; volumes",
        ),
    ],
)
def test_what_no_node_takes_may_be_taken_tomorrow(said: str, message: str, fix: str):
    spec = {"nodeSelector": {"site": "barn", "wing": "2"}}
    found = explain_scheduling(f"0/3 nodes are available: {said}.{PREEMPTION}", spec, "barn")
    assert (found.cause, found.final) == ("unschedulable", False)
    assert message in found.message
    assert "preemption" not in found.message
    assert fix in found.fix


@pytest.mark.parametrize(
    ("said", "cause", "fix", "final"),
    [
        ("exec: exec format error: unknown", "image", "--platform linux/amd64 --platform linux/arm64", True),
        ('secret "tokens" not found', "configuration", "kubectl -n barn get secret tokens; create it", False),
        ("couldn't find key token in Secret barn/tokens", "configuration", "get Secret tokens; add the key", False),
        ("container has runAsNonRoot and image will run as root", "configuration", "eaves package ARTIFACT", True),
        ("something new", "configuration", "kubectl -n barn get events", False),
    ],
)
def test_what_a_container_can_not_start_with(said: str, cause: str, fix: str, final: bool):
    found = explain_start(f"CreateContainerConfigError {said}", IMAGE, "barn")
    assert (found.cause, found.final) == (cause, final)
    assert fix in found.fix
    assert found.cause in CAUSES


@pytest.mark.parametrize(
    ("denial", "keys"),
    [
        ("must not set the field(s): spec.template.spec.nodeSelector", ["nodeselector"]),
        ("EmptyDir volume support is disabled, but found EmptyDir volume tmp: ", ["volumes-emptydir"]),
    ],
)
def test_missing_feature_flags_and_the_line_that_sets_them(denial: str, keys: list[str]):
    found = explain_denial(DENIED + denial, "cams")
    assert found is not None
    assert (found.cause, found.final) == ("flag", True)
    patch = ", ".join(f'"kubernetes.podspec-{key}": "enabled"' for key in keys)
    assert found.fix == (
        'kubectl -n knative-serving patch configmap config-features --type merge -p \'{"data": {' + patch + "}}'"
    )
    assert ("cannot safely be disabled" in found.message) is bool({"nodeselector"} & set(keys))


def test_another_fault_is_no_missing_flag():
    for denial in (
        "expected 0 <= -1 <= 1000: spec.template.spec.containerConcurrency",
        "must not set the field(s): spec.template.spec.restartPolicy",
        "must not set the field(s): spec.template.spec.containers[0].securityContext.privileged",
    ):
        assert explain_denial(DENIED + denial, "cams") is None
    name = explain_denial(
        DENIED + "Failed to parse image reference: spec.template.spec.containers[0].image\nimage: x", "cams"
    )
    assert name is not None
    assert (name.cause, name.final) == ("refused", True)

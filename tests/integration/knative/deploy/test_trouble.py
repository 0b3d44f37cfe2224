"""Deploys that the cluster refuses, and links that break on the way: the error, its fix, and what continues."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eaves.errors import ClusterError, DeniedError, InvalidError, UnreachableClusterError
from knative.client.cluster import Cluster
from knative.deploy.ownership import CREATED, UNCHANGED
from knative.settings import KnativeSettings
from tests.cluster.apps import plain_app
from tests.cluster.deploys import deploy, objects, outcomes, render
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, refusal


def test_a_right_that_lacks_is_named_with_how_to_see_it(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    apiserver.denied = {("patch", "triggers.eventing.knative.dev")}
    with pytest.raises(
        DeniedError, match=r"jane may not patch triggers\.eventing\.knative\.dev in namespace cams"
    ) as e:
        deploy(cluster, plain_app())
    assert e.value.hint is not None
    assert "kubectl --context edge auth can-i patch triggers.eventing.knative.dev -n cams" in e.value.hint
    apiserver.denied = set()
    done = outcomes(deploy(cluster, plain_app()))
    assert done[CREATED] == {"Trigger/flowers"}


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            "validation failed: must not set the field(s): spec.template.spec.nodeSelector",
            "edge: the cluster refuses Service flowers: Knative accepts .*nodeSelector only if ",
            "kubectl -n knative-serving patch configmap config-features",
        ),
        (
            'Failed to parse image reference: spec.template.spec.containers[0].image\nimage: "x@y", error: could not',
            "edge: the cluster refuses Service flowers: Knative can't read the container image's name",
            "set knative.image in eaves.yaml",
        ),
        (
            "the barn has a policy of its own",
            r"denied the request: the barn has .* \(Service flowers\)",
            "eaves doctor",
        ),
    ],
)
def test_a_webhooks_denial_is_said_with_its_fix(
    said: str, message: str, hint: str, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    apiserver.admit = lambda manifest: said if manifest["apiVersion"] == "serving.knative.dev/v1" else ""
    with pytest.raises(InvalidError, match=message) as raised:
        deploy(cluster, plain_app())
    assert hint in str(raised.value.hint)


def test_a_quota_that_is_used_up_is_said_with_its_name(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    said = (
        'services.serving.knative.dev "flowers" is forbidden: exceeded quota: few, requested: '
        "count/services.serving.knative.dev=1, used: count/services.serving.knative.dev=5, limited: "
        "count/services.serving.knative.dev=5"
    )
    apiserver.fail(refusal(403, "Forbidden", said), method="PATCH", path="/serving.knative.dev/v1")
    with pytest.raises(
        InvalidError, match="edge: the cluster refuses Service flowers: the quota few of the namespace is used up"
    ) as raised:
        deploy(cluster, plain_app())
    assert "kubectl -n cams describe resourcequota few" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("path", "said", "command"),
    [
        (
            "/triggers/",
            'admission webhook "w" denied the request: validation failed: Immutable fields changed (-old +new): broker',
            "kubectl --context edge -n cams delete triggers.eventing.knative.dev flowers; then deploy again",
        ),
        (
            "/daemonsets/",
            'DaemonSet.apps "flowers-pin" is invalid: spec.selector: Invalid value: {}: field is immutable',
            "kubectl --context edge -n cams delete daemonsets.apps flowers-pin-bbbbbbbb; then deploy again",
        ),
    ],
)
def test_what_cant_be_changed_must_be_made_anew(
    path: str, said: str, command: str, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    apiserver.fail(refusal(422, "Invalid", said), method="PATCH", path=path)
    with pytest.raises(InvalidError) as raised:
        deploy(cluster, plain_app())
    assert command in str(raised.value.hint)


def after(requests: int, reply: Reply) -> Callable[[Request], Reply | None]:
    """A server that answers so many writes of an app's objects, and then something else."""
    writes = 0

    def fault(request: Request) -> Reply | None:
        nonlocal writes
        writes += request.method == "PATCH" and "/configmaps/" not in request.path
        return reply if writes > requests else None

    return fault


@pytest.mark.parametrize("writes", [0, 5])
@pytest.mark.parametrize("status", [0, 503], ids=["dropped", "503"])
def test_a_link_that_goes_down_on_the_way_is_said_and_the_next_call_continues(
    writes: int, status: int, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    apiserver.fault = after(writes, Reply(status=0) if not status else refusal(503, "ServiceUnavailable", "etcd"))
    with pytest.raises(UnreachableClusterError):
        deploy(cluster, plain_app())
    apiserver.fault = lambda request: None
    assert len(objects(apiserver)) == writes
    done = outcomes(deploy(cluster, plain_app()))
    assert len(done.get(UNCHANGED, ())) == writes
    assert len(done[CREATED]) == len(render(plain_app())) - writes


def test_a_write_whose_answer_was_lost_is_no_conflict(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    lost = []

    def fault(request: Request) -> Reply | None:
        if request.method == "PATCH" and request.path not in lost:
            lost.append(request.path)
            apiserver.fault = lambda request: None
            apiserver.answer(request)
            apiserver.fault = fault
            return Reply(status=0)
        return None

    apiserver.fault = fault
    done = deploy(cluster, plain_app())
    assert len(done) == len(render(plain_app())) == len([path for path in lost if "/configmaps/" not in path])
    apiserver.fault = lambda request: None
    assert outcomes(deploy(cluster, plain_app())).keys() == {UNCHANGED}


def test_a_webhook_that_doesnt_answer_is_named(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    said = (
        'Internal error occurred: failed calling webhook "webhook.serving.knative.dev": failed to call webhook: Post '
        '"https://webhook.knative-serving.svc:443/?timeout=10s": no endpoints available for service "webhook"'
    )
    apiserver.fail(refusal(500, "InternalError", said), method="PATCH", path="/serving.knative.dev", times=9)
    with pytest.raises(ClusterError, match="failed calling webhook") as raised:
        deploy(cluster, plain_app(), KnativeSettings())
    assert "a webhook doesn't answer" in str(raised.value.hint)

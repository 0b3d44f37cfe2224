"""Deploys that the cluster refuses, and links that break on the way: the error, its fix, and what continues."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eaves.errors import DeniedError, InvalidError, UnreachableClusterError
from knative.client.cluster import Cluster
from knative.deploy.ownership import CREATED, UNCHANGED
from tests.cluster.apps import plain_app
from tests.cluster.deploys import deploy, outcomes, render
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


@pytest.mark.parametrize(
    ("path", "said", "command"),
    [
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


@pytest.mark.parametrize(("writes", "status"), [(0, 0), (5, 503)], ids=["dropped", "503"])
def test_a_link_that_goes_down_on_the_way_is_said_and_the_next_call_continues(
    writes: int, status: int, cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    apiserver.fault = after(writes, Reply(status=0) if not status else refusal(503, "ServiceUnavailable", "etcd"))
    with pytest.raises(UnreachableClusterError):
        deploy(cluster, plain_app())
    apiserver.fault = lambda request: None
    done = outcomes(deploy(cluster, plain_app()))
    assert len(done.get(UNCHANGED, ())) == writes
    assert len(done[CREATED]) == len(render(plain_app())) - writes

"""Events sent to a function and to the broker, from outside the cluster: through the API server and the gateway."""

import pytest

from eaves.errors import ClusterError, NotFoundError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from knative.client.cluster import Cluster
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings
from tests.cluster.apps import at_site, plain_app
from tests.cluster.deploys import SITE
from tests.fakes.controllers.installation import bare
from tests.fakes.controllers.knative import Knative, predict
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, refusal

EVENT = Event(
    id="1",
    source="/eaves/barn/inbox",
    type=IMAGE_CAPTURED,
    datacontenttype="image/png",
    data=b"\x89PNG",
    subject="ä b.png",
)


@pytest.fixture
def platform(cluster: Cluster, knative: Knative) -> KnativePlatform:
    platform = KnativePlatform(cluster, KnativeSettings(), SITE)
    platform.deploy(at_site(plain_app(), site=SITE))
    return platform


def test_an_event_reaches_the_function_by_the_gateway_and_its_prediction_comes_back(
    platform: KnativePlatform, knative: Knative
):
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        return predict(request)

    knative.functions["flowers"] = answer
    got = platform.invoke("flowers", EVENT)
    assert got.event is not None
    assert (got.status, got.event.type, got.event.extensions["causeid"]) == (200, IMAGE_CLASSIFIED, "1")
    (request,) = seen
    assert (request.target, request.path, request.method) == ("services/kourier-internal:80", "/", "POST")
    assert request.headers["Host"] == "flowers.cams.svc.cluster.local"
    assert request.headers["Prefer"] == "reply"
    assert (request.body, request.headers["Content-Type"]) == (EVENT.data, "image/png")


def test_a_function_without_an_address_cant_be_asked_yet(cluster: Cluster, knative: Knative):
    knative.auto = False
    platform = KnativePlatform(cluster, KnativeSettings(), SITE)
    platform.deploy(at_site(plain_app(), site=SITE))
    with pytest.raises(ClusterError, match="Service flowers has no address yet"):
        platform.invoke("flowers", EVENT)
    with pytest.raises(
        NotFoundError, match=r"the function 'roses' does not exist in cams of edge \(known functions: flowers\)"
    ):
        platform.invoke("roses", EVENT)


def test_an_event_is_published_to_the_broker(platform: KnativePlatform, knative: Knative):
    platform.publish(EVENT)
    assert [one.id for one in knative.published] == ["1"]
    (request,) = knative.server.asked("POST", "/knative-eventing/services/broker-ingress:80/proxy")
    assert request.path.endswith("/proxy/cams/eaves")
    assert "Prefer" not in request.headers


def test_an_address_in_the_cluster_is_a_service_and_its_port(cluster: Cluster, apiserver: FakeCluster):
    alias = {"externalName": "gateway.edge-system.svc.cluster.local"}
    for name, namespace, spec in (("plain", "cams", {}), ("alias", "cams", alias), ("gateway", "edge-system", {})):
        apiserver.put({**bare("v1", "Service", name), "spec": spec}, namespace=namespace)
    apiserver.backend = lambda _: Reply()
    for url, place, path in (
        ("http://plain.cams.svc.cluster.local:8080/a/b", "cams/services/plain:8080", "/a/b"),
        ("https://plain.cams.svc", "cams/services/https:plain:443", "/"),
        ("http://alias.cams.svc.cluster.local/a", "edge-system/services/gateway:80", "/a"),
    ):
        cluster.send(url, headers={})
        (request,) = apiserver.asked("POST", f"/{place}/proxy")
        assert request.path.endswith(f"/proxy{path}")
        assert request.headers["Host"] == url.split("//")[1].partition("/")[0].partition(":")[0]


def test_other_addresses_are_refused(cluster: Cluster):
    for url, message in (
        ("http://flowers.example.org/", "is not an address inside the cluster"),
        ("http://gone.cams.svc.cluster.local/", "can't be reached: the Service gone does not exist in cams"),
    ):
        with pytest.raises(ClusterError, match=message):
            cluster.send(url, headers={})


def test_an_api_server_that_is_overloaded_is_not_sent_an_event_twice(
    platform: KnativePlatform, apiserver: FakeCluster, knative: Knative
):
    apiserver.fail(refusal(503, "ServiceUnavailable", "try again"), path="/proxy/")
    with pytest.raises(ClusterError):
        platform.publish(EVENT)
    assert len(apiserver.asked("POST", "/proxy/")) == 1

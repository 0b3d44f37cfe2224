"""Requests to ports of pods by port-forward, where the network lets the API server's proxy in and where it doesn't."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from eaves.errors import ClusterError, DeniedError, UnreachableClusterError
from knative.client.cluster import Cluster, open_cluster
from tests.cluster.simulated import pod
from tests.fakes.http.proxy import open_proxy
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, Request, open_apiservers, write_kubeconfig
from tests.inputs.certificates import make_certificate


@pytest.fixture(autouse=True)
def a_pod(apiserver: FakeCluster) -> None:
    apiserver.put(pod("f-1"))


def test_a_pod_is_asked_by_port_forward(cluster: Cluster, apiserver: FakeCluster) -> None:
    seen: list[Request] = []

    def backend(request: Request) -> Reply:
        seen.append(request)
        return Reply(status=503, headers={"Content-Type": "application/json"}, body=b'{"a":1}')

    apiserver.backend = backend
    answer = cluster.ask_pod("f-1", 8080, "/metrics?a=b%20c")
    assert (answer.status, answer.headers["content-type"], answer.body) == (503, "application/json", b'{"a":1}')
    assert answer.latency_ms > 0
    (request,) = seen
    assert (request.target, request.path, request.query) == ("pods/f-1:8080", "/metrics", {"a": "b c"})


def test_an_answer_of_many_frames_comes_whole(cluster: Cluster, apiserver: FakeCluster) -> None:
    content = bytes(range(256)) * 4000
    apiserver.backend = lambda request: Reply(body=content)
    assert cluster.ask_pod("f-1", 8080, "/").body == content


def test_a_port_where_nothing_listens_is_reported(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"pods f-1 .* does not answer: port 8080 refuses connections") as caught:
        cluster.ask_pod("f-1", 8080, "/")
    assert caught.value.hint == "this command shows what runs: kubectl --context edge describe pod f-1 -n cams"


def test_a_pod_that_says_nothing_costs_the_time_limit_and_no_more(cluster: Cluster, apiserver: FakeCluster) -> None:
    waiting = threading.Event()

    def backend(request: Request) -> Reply:
        waiting.wait(20)
        return Reply()

    apiserver.backend = backend
    started = time.monotonic()
    try:
        with pytest.raises(UnreachableClusterError, match=r"http.* did not answer within 0\.3 s"):
            cluster.ask_pod("f-1", 8080, "/", timeout_s=0.3)
    finally:
        waiting.set()
    assert time.monotonic() - started < 5


def test_a_token_that_is_refused_is_renewed_once(apiserver: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    user = {"tokenFile": str(tmp_path / "token")}
    cluster = open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig", namespace="cams", user=user))
    apiserver.backend = lambda request: Reply(body=b"ok")
    (tmp_path / "token").write_text("second")
    apiserver.tokens = {"second"}
    assert cluster.ask_pod("f-1", 8080, "/").body == b"ok"
    apiserver.tokens = set()
    with pytest.raises(DeniedError, match="not logged in"):
        cluster.ask_pod("f-1", 8080, "/")
    assert len(apiserver.asked("GET", "/portforward")) == 4


@pytest.mark.parametrize("verb", ["get", "create"])
def test_a_missing_right_is_named(cluster: Cluster, apiserver: FakeCluster, verb: str) -> None:
    apiserver.denied = {(verb, "pods/portforward")}
    with pytest.raises(DeniedError, match=f"may not {verb} pods/portforward in namespace cams") as caught:
        cluster.ask_pod("f-1", 8080, "/")
    assert f"auth can-i {verb} pods --subresource=portforward -n cams" in str(caught.value.hint)


@pytest.mark.parametrize(
    "answer",
    [Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}), Reply(status=405, body=b"no GET here")],
    ids=["redirect", "method"],
)
def test_a_proxy_that_passes_no_websockets_is_named(cluster: Cluster, apiserver: FakeCluster, answer: Reply) -> None:
    apiserver.fail(answer, path="/portforward")
    with pytest.raises(ClusterError, match="does not support port-forwards") as caught:
        cluster.ask_pod("f-1", 8080, "/")
    assert caught.value.hint == "let the proxy before the API server pass WebSockets"


def test_certificates_are_shown_and_checked(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path / "tls")
    with open_apiservers(["edge"], certificate=(certificate, key)) as (server,):
        server.backend = lambda request: Reply(body=b"ok")
        server.put(pod("f-1"))
        user = {"client-certificate": str(certificate), "client-key": str(key)}
        file = server.kubeconfig(tmp_path / "kubeconfig", namespace="cams", user=user)
        with pytest.raises(UnreachableClusterError, match=r"the certificate of https.* can't be verified"):
            open_cluster(kubeconfig=file).ask_pod("f-1", 8080, "/")
        config = yaml.safe_load(file.read_text())
        config["clusters"][0]["cluster"]["certificate-authority"] = str(certificate)
        file.write_text(yaml.safe_dump(config))
        assert open_cluster(kubeconfig=file).ask_pod("f-1", 8080, "/").body == b"ok"


def test_a_proxy_is_used_as_for_any_request_and_the_environment_is_not_looked_at_again(
    apiserver: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apiserver.backend = lambda request: Reply(body=b"ok")
    place = "198.51.100.7:6443"  # an address for documentation
    with open_proxy() as proxy:
        proxy.routes[place] = urlsplit(apiserver.url).port or 0
        proxy.authorization = "Basic dXNlcjpzZWNyZXQ="
        monkeypatch.setenv("http_proxy", f"http://user:secret@{proxy.host}")
        file = write_kubeconfig(tmp_path / "kubeconfig", {"edge": f"http://{place}/clusters/edge"}, namespace="cams")
        assert open_cluster(kubeconfig=file).ask_pod("f-1", 8080, "/").body == b"ok"
        assert proxy.targets() == [f"CONNECT {place}"]
        here = apiserver.kubeconfig(tmp_path / "here", namespace="cams")
        assert open_cluster(kubeconfig=here).ask_pod("f-1", 8080, "/").body == b"ok"
        assert len(proxy.targets()) == 1, "this machine is reached without the proxy"

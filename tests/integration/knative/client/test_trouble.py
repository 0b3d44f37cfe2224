"""Requests to pods: logs, forwarded ports, and a server that is slow, overloaded, down, or no longer knows us."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from eaves.errors import AbsentError, ClusterError, DeniedError, InvalidError, UnreachableClusterError
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import CONFIG_MAP, KSERVICE, NAMESPACE
from tests.cluster.simulated import config_map, pod, service
from tests.fakes.http.proxy import open_proxy
from tests.fakes.kubernetes.apiserver import (
    FakeCluster,
    Reply,
    Request,
    open_apiservers,
    refusal,
    refusing_url,
    write_kubeconfig,
)
from tests.inputs.certificates import make_certificate


def test_an_overloaded_server_is_asked_again_when_it_wants_to_be(cluster: Cluster, apiserver: FakeCluster):
    apiserver.fail(refusal(429, "TooManyRequests", "slow down", Retry_After="1"), method="PATCH")
    started = time.monotonic()
    assert cluster.apply(service(), manager="eaves")["metadata"]["generation"] == 1
    assert time.monotonic() - started >= 1


def test_a_server_that_wants_longer_than_there_is_time_is_given_up_at_once(cluster: Cluster, apiserver: FakeCluster):
    apiserver.fail(refusal(429, "TooManyRequests", "slow down", Retry_After="60"), times=9)
    started = time.monotonic()
    with pytest.raises(ClusterError, match="edge: the API server is overloaded: slow down") as caught:
        cluster.list(CONFIG_MAP)
    assert caught.value.hint == "try again later"
    assert time.monotonic() - started < 5


def test_the_number_of_retries_is_bounded(cluster: Cluster, apiserver: FakeCluster):
    apiserver.fail(refusal(503, "ServiceUnavailable", "etcd is away"), times=99)
    with pytest.raises(UnreachableClusterError, match="answered 503: etcd is away"):
        cluster.get(CONFIG_MAP, "a")
    assert len(apiserver.log) == 4


def test_a_connection_that_breaks_is_made_again(cluster: Cluster, apiserver: FakeCluster):
    apiserver.fail(Reply(status=0), times=2)
    assert cluster.apply(service(), manager="eaves")["metadata"]["generation"] == 1


def test_an_apply_over_a_version_is_not_sent_twice(cluster: Cluster, apiserver: FakeCluster):
    version = cluster.apply(service(), manager="eaves")["metadata"]["resourceVersion"]
    apiserver.fail(Reply(status=0))
    late = service("r/f@sha256:2")
    late["metadata"]["resourceVersion"] = version
    with pytest.raises(UnreachableClusterError, match="broke"):
        cluster.apply(late, manager="eaves")


def test_a_server_that_hangs_costs_the_time_limit_and_no_more(apiserver: FakeCluster, tmp_path: Path):
    cluster = open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig"), timeout_s=0.4)
    apiserver.hangs = True
    started = time.monotonic()
    with pytest.raises(UnreachableClusterError, match=r"edge: http://\S+ did not answer within 0\.4 s") as caught:
        cluster.get(CONFIG_MAP, "a")
    assert time.monotonic() - started < 3
    assert "kubectl --context edge get --raw /readyz" in str(caught.value.hint)


def test_a_server_that_is_down_is_named_with_its_context(tmp_path: Path):
    with refusing_url() as url:
        cluster = open_cluster(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", {"barn": url}))
        with pytest.raises(UnreachableClusterError, match=rf"barn: can't connect to {url}: .*[Cc]onnection refused"):
            cluster.version()


def test_a_web_page_is_not_taken_for_an_api_server(cluster: Cluster, apiserver: FakeCluster):
    apiserver.fail(Reply(body=b"<html>Welcome to our hotel</html>"))
    with pytest.raises(ClusterError, match="is not an API server: it answered <html>Welcome"):
        cluster.version()
    apiserver.fail(Reply(status=302, headers={"Location": "http://login.example/"}))
    with pytest.raises(ClusterError, match="is not an API server: it answered 302"):
        cluster.version()


def test_a_token_that_has_expired_for_good_says_how_to_log_in(cluster: Cluster, apiserver: FakeCluster):
    apiserver.tokens = set()
    with pytest.raises(DeniedError, match="edge: the user is not logged in at http") as caught:
        cluster.get(KSERVICE, "flowers")
    assert "kubectl --context edge get namespaces" in str(caught.value.hint)
    assert len(apiserver.log) == 2


def test_many_threads_share_a_cluster_whose_token_expires(cluster: Cluster, apiserver: FakeCluster, tmp_path: Path):
    apiserver.tokens = {"renewed"}
    apiserver.kubeconfig(tmp_path / "kubeconfig", namespace="cams", user={"token": "renewed"})
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda n: cluster.apply(config_map(f"m{n}"), manager="eaves"), range(64)))
    assert len(done) == len(cluster.list(CONFIG_MAP)) == 64


def test_nothing_is_made_in_a_namespace_that_terminates_and_what_to_do_is_named(
    cluster: Cluster, apiserver: FakeCluster
):
    cluster.apply(config_map("kept"), manager="eaves")
    namespace = apiserver.get("Namespace", cluster.namespace)
    namespace["metadata"]["finalizers"] = ["kubernetes"]
    apiserver.put(namespace)
    cluster.delete(NAMESPACE, cluster.namespace)
    cluster.apply(config_map("kept", a="1"), manager="eaves")
    with pytest.raises(InvalidError, match="because it is being terminated") as caught:
        cluster.apply(service(), manager="eaves")
    wait = f"kubectl --context edge wait --for=delete namespace/{cluster.namespace} --timeout=5m"
    assert wait in str(caught.value.hint)


@pytest.fixture(autouse=True)
def a_pod(apiserver: FakeCluster) -> None:
    apiserver.put(pod("f-1"))


def test_what_was_written_after_a_moment_is_read_once(cluster: Cluster, apiserver: FakeCluster):
    with pytest.raises(AbsentError, match='pods "nobody" not found'):
        cluster.log_after("nobody", "")
    apiserver.write_log("f-1", "a", "b\u2028c", namespace="cams")
    first = cluster.log_after("f-1", "")
    assert [line for _, line in first] == ["a", "b\u2028c"]
    apiserver.write_log("f-1", "", "d", namespace="cams")
    assert [line for _, line in cluster.log_after("f-1", first[-1][0])] == ["", "d"]


def test_a_request_goes_through_the_proxy_as_it_is(cluster: Cluster, apiserver: FakeCluster):
    seen: list[Request] = []

    def backend(request: Request) -> Reply:
        seen.append(request)
        return Reply(status=201, headers={"Ce-Type": "x", "Content-Type": "application/json"}, body=b'{"a":1}')

    apiserver.backend = backend
    answer = cluster.proxy(
        "pods/f-1:8080",
        "/predict?a=b%20c",
        method="POST",
        headers={"Host": "flowers.cams.example", "Content-Type": "application/json", "Ce-Id": "1"},
        body=b"[1, 2]",
    )
    assert (answer.status, answer.headers["ce-type"], answer.body) == (201, "x", b'{"a":1}')
    assert answer.latency_ms > 0
    (request,) = seen
    assert (request.target, request.path, request.query) == ("pods/f-1:8080", "/predict", {"a": "b c"})
    assert (request.method, request.body, request.headers["Host"]) == ("POST", b"[1, 2]", "flowers.cams.example")


def test_what_the_api_server_refuses_is_an_error(cluster: Cluster, apiserver: FakeCluster):
    with pytest.raises(ClusterError, match=r"edge: pods f-1:8080 in namespace cams does not answer: .*refused"):
        cluster.proxy("pods/f-1:8080", "/")
    with pytest.raises(AbsentError, match='services "f" not found'):
        cluster.proxy("services/f:80", "/")
    apiserver.denied.add(("get", "services/proxy"))
    with pytest.raises(DeniedError, match="may not get services/proxy in namespace cams") as denied:
        cluster.proxy("services/f:80", "/")
    assert "auth can-i get services --subresource=proxy -n cams" in str(denied.value.hint)


def test_a_pod_is_asked_by_port_forward(cluster: Cluster, apiserver: FakeCluster):
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


def test_an_answer_of_many_frames_comes_whole(cluster: Cluster, apiserver: FakeCluster):
    content = bytes(range(256)) * 4000
    apiserver.backend = lambda request: Reply(body=content)
    assert cluster.ask_pod("f-1", 8080, "/").body == content


def test_a_port_where_nothing_listens_is_reported(cluster: Cluster):
    with pytest.raises(ClusterError, match=r"pods f-1 .* does not answer: port 8080 refuses connections") as caught:
        cluster.ask_pod("f-1", 8080, "/")
    assert caught.value.hint == "this command shows what runs: kubectl --context edge describe pod f-1 -n cams"


def test_a_pod_that_says_nothing_costs_the_time_limit_and_no_more(cluster: Cluster, apiserver: FakeCluster):
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


def test_a_token_that_is_refused_is_renewed_once(apiserver: FakeCluster, tmp_path: Path):
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


def test_a_missing_right_is_named(cluster: Cluster, apiserver: FakeCluster):
    for verb in ("get", "create"):
        apiserver.denied = {(verb, "pods/portforward")}
        with pytest.raises(DeniedError, match=f"may not {verb} pods/portforward in namespace cams") as caught:
            cluster.ask_pod("f-1", 8080, "/")
        assert f"auth can-i {verb} pods --subresource=portforward -n cams" in str(caught.value.hint)


def test_a_proxy_that_passes_no_websockets_is_named(cluster: Cluster, apiserver: FakeCluster):
    for answer in (
        Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Reply(status=405, body=b"no GET here"),
    ):
        apiserver.fail(answer, path="/portforward")
        with pytest.raises(ClusterError, match="does not support port-forwards") as caught:
            cluster.ask_pod("f-1", 8080, "/")
        assert caught.value.hint == "let the proxy before the API server pass WebSockets"


def test_certificates_are_shown_and_checked(tmp_path: Path):
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
):
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

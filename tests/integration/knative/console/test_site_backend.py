"""The console's view of a site, against an API server over HTTP; test_role has its rights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from eaves.delivery import SinkResponse
from eaves.errors import AbsentError, ClusterError, NotFoundError
from knative.client.api_errors import ApiCall
from knative.client.cluster import Cluster
from knative.client.kubeconfig import find_context
from knative.client.transport import ApiTransport
from knative.console import STATUS_S, InsideCluster, SiteBackend
from knative.platform import KnativePlatform
from knative.settings import KnativeSettings
from tests.cluster.apps import NAME
from tests.cluster.deploys import HOME, SITE
from tests.fakes.clock import ManualClock
from tests.fakes.console.backend import FakeImages, FakeRecords
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.fakes.kubernetes.wire import Reply
from tests.integration.knative.test_documented_roles import deploy


def open_backend(cluster: Cluster, clock: ManualClock | None = None) -> SiteBackend:
    platform = KnativePlatform(cluster, KnativeSettings(agent_namespace=""), SITE, by="console", ready_timeout_s=10)
    return SiteBackend(
        platform,
        send=lambda name, event: SinkResponse(status=200),
        title="barn",
        records=FakeRecords(),
        images=FakeImages(),
        clock=clock or ManualClock(),
    )


def test_many_pages_ask_the_cluster_once(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    deploy(cluster)
    clock = ManualClock()
    backend = open_backend(cluster, clock)
    for _ in range(20):
        backend.status()
    once = len(apiserver.log)
    clock.turn(STATUS_S - 0.1)
    backend.status()
    assert len(apiserver.log) == once
    clock.turn(0.1)
    backend.status()
    assert len(apiserver.log) > once


def test_a_viewer_is_sent_to_the_pod_and_not_to_a_kubeconfig(cluster: Cluster, apiserver: FakeCluster) -> None:
    apiserver.fail(Reply(body=b"<html>Log in</html>"), times=99)
    with pytest.raises(ClusterError, match="is not an API server") as found:
        open_backend(cluster).status()
    assert (found.value.hint or "").startswith("kubectl logs ")


@contextmanager
def pod_answering() -> Iterator[int]:
    """An HTTP server as in a pod; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


def open_inside(apiserver: FakeCluster, folder: Path) -> InsideCluster:
    context = find_context(apiserver.kubeconfig(folder / "kubeconfig", namespace=HOME), "")
    assert context is not None
    return InsideCluster(
        "in-cluster", HOME, ApiTransport(ApiCall(context="", server=""), context.connect, timeout_s=10)
    )


def test_a_pod_is_asked_at_its_own_address(apiserver: FakeCluster, tmp_path: Path) -> None:
    inside = open_inside(apiserver, tmp_path)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent-0"}, "spec": {}}
    apiserver.put(pod, namespace=HOME)
    with pytest.raises(ClusterError, match="has no address yet"):
        inside.ask_pod("agent-0", 9090, "/health")
    apiserver.status("Pod", "agent-0", {"podIP": "127.0.0.1"}, namespace=HOME)
    with pod_answering() as port:
        answer = inside.ask_pod("agent-0", port, "/health")
    assert (answer.status, answer.body) == (200, b"ok")
    with pytest.raises(ClusterError, match="doesn't answer"):
        inside.ask_pod("agent-0", port, "/health")
    with pytest.raises(AbsentError):
        inside.ask_pod("agent-1", port, "/health")


def test_an_event_goes_to_the_functions_own_address(cluster: Cluster, knative: Knative) -> None:
    platform = KnativePlatform(cluster, KnativeSettings(), SITE)
    with pytest.raises(NotFoundError):
        platform.find_address("roses")
    deploy(cluster)
    assert platform.find_address(NAME).startswith(f"http://{NAME}.{HOME}.svc")

"""The console's view of a site, against an API server over HTTP that grants only what the rendered Role grants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import AbsentError, ClusterError, DeniedError, NotFoundError, UnreachableError
from eaves.events import Event
from knative.client.api_errors import ApiCall
from knative.client.cluster import Cluster
from knative.client.kubeconfig import find_context
from knative.client.transport import ApiTransport
from knative.console.inside_cluster import InsideCluster, send_inside
from knative.console.site_backend import STATUS_S, SiteBackend
from knative.platform import KnativePlatform
from knative.resources.console import build_console
from knative.resources.console_settings import ConsoleDeployment
from knative.settings import KnativeSettings
from tests.cluster.apps import IMAGE, NAME
from tests.cluster.deploys import HOME, SITE
from tests.cluster.pins import IMAGES
from tests.cluster.roles import Role
from tests.fakes.clock import ManualClock
from tests.fakes.console.backend import FakeImages, FakeRecords
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.integration.knative.test_documented_roles import deploy, grant

CONSOLE_IMAGE = "registry.example/console@sha256:" + 64 * "c"


def role(*, writable: bool = False) -> Role:
    wanted = ConsoleDeployment(namespace=HOME, image=CONSOLE_IMAGE, writable=writable)
    rules = next(one["rules"] for one in build_console(wanted) if one["kind"] == "Role")
    return Role(rules=rules, namespace=HOME)


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


def test_the_role_is_enough_to_read_and_for_nothing_else(
    cluster: Cluster, knative: Knative, apiserver: FakeCluster
) -> None:
    deploy(cluster)
    deploy(cluster, IMAGES[1])
    refused = grant(apiserver, role())
    backend = open_backend(cluster)
    assert [one.name for one in backend.status()] == [NAME]
    assert refused == []
    with pytest.raises(DeniedError):
        backend.rollback(NAME)


def test_a_writable_console_promotes_and_rolls_back(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    deploy(cluster)
    deploy(cluster, IMAGES[1])
    refused = grant(apiserver, role(writable=True))
    backend = open_backend(cluster)
    backend.promote(NAME)
    assert [one.image for one in backend.status()[0].serving] == [IMAGES[1]]
    backend.rollback(NAME)
    assert [one.image for one in backend.status()[0].serving] == [IMAGE]
    assert refused == []


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


def test_an_event_goes_to_the_functions_own_address(cluster: Cluster, knative: Knative, apiserver: FakeCluster) -> None:
    event = Event(id="1", source="/eaves/barn/console", type="dev.eaves.image.captured.v1", data=b"x")
    with SinkClient(connections=1) as client:
        with pytest.raises(NotFoundError):
            send_inside(cluster, client, "roses", event)
        deploy(cluster)
        with pytest.raises(UnreachableError):  # the address that Knative gives exists only inside the cluster
            send_inside(cluster, client, NAME, event)

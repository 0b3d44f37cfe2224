"""A site's console over real sockets: its view of the cluster, the rights that it takes, pages with a login."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from eaves.cli.commands.receiver import render_console as command
from eaves.console.app import ConsoleServer
from eaves.console.exposure import prepare_credentials
from eaves.delivery import SinkClient, SinkResponse
from eaves.errors import AbsentError, ClusterError, ConfigError, DeniedError, NotFoundError
from eaves.events import Event, encode_binary
from knative.client.api_errors import ApiCall
from knative.client.cluster import Cluster
from knative.client.kubeconfig import find_context
from knative.client.transport import ApiTransport
from knative.console import STATUS_S, InsideCluster, SiteBackend, open_console
from knative.platform import KnativePlatform
from knative.resources.standalone_servers import SiteConsoleSettings
from knative.settings import KnativeSettings
from tests.cluster.apps import AGENT_IMAGE, NAME, full_app
from tests.cluster.deploys import HOME, SITE
from tests.cluster.pins import IMAGES
from tests.cluster.roles import Role
from tests.fakes.clock import ManualClock
from tests.fakes.console.backend import FakeImages, FakeRecords
from tests.fakes.console.material import captured_event, classified_event, small_jpeg
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.fakes.kubernetes.wire import Reply
from tests.https_browser import HttpsBrowser
from tests.integration.knative.test_documented_roles import at, deploy, grant
from tests.ports import find_port
from tests.waiting import wait_until


@pytest.fixture
def settings(tmp_path: Path) -> SiteConsoleSettings:
    folder = tmp_path / "credentials"
    prepare_credentials(folder, host="127.0.0.1")
    data = tmp_path / "data"
    data.mkdir()
    return SiteConsoleSettings(
        host="127.0.0.1", port=find_port(), events_port=find_port(), site="barn", credentials=folder, data=data
    )


@pytest.fixture
def server(settings: SiteConsoleSettings, cluster: Cluster, knative: Knative) -> Iterator[ConsoleServer]:
    deploy(cluster)
    with ExitStack() as stack:
        client = stack.enter_context(SinkClient(connections=1))
        yield open_console(settings, cluster, client, stack)


def post(port: int, event: Event) -> int:
    headers, body = encode_binary(event)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_events_of_a_trigger_are_on_the_pages_after_a_login(server: ConsoleServer, settings: SiteConsoleSettings):
    assert settings.credentials is not None
    captured = captured_event(1, data=small_jpeg())
    assert post(settings.events_port, captured) == 202
    assert post(settings.events_port, classified_event(captured, label="tulip")) == 202
    browser = HttpsBrowser(server.port, settings.credentials / "tls.crt")
    assert browser.ask("GET", "/")[0] in (302, 303, 401)
    assert browser.log_in("wrong") in (401, 403)
    assert browser.log_in((settings.credentials / "password").read_text().strip()) in (302, 303)
    status, page = browser.ask("GET", "/")
    assert (status, "tulip" in page, "barn" in page) == (200, True, True)
    assert NAME in browser.ask("GET", "/functions")[1]
    images = wait_until(lambda: re.findall(r'src="(/images/[^"]+)"', browser.ask("GET", "/")[1]), what="a thumbnail")
    assert browser.ask("GET", images[0])[0] == 200


def test_it_doesnt_start_open_to_other_machines_without_a_password(settings: SiteConsoleSettings, cluster: Cluster):
    wide = replace(settings, host="0.0.0.0", credentials=None)
    with ExitStack() as stack:
        client = stack.enter_context(SinkClient(connections=1))
        with pytest.raises(ConfigError, match="password"):
            open_console(wide, cluster, client, stack)


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


def test_many_pages_ask_the_cluster_once(cluster: Cluster, knative: Knative, apiserver: FakeCluster):
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


def test_a_viewer_is_sent_to_the_pod_and_not_to_a_kubeconfig(cluster: Cluster, apiserver: FakeCluster):
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


def test_a_pod_is_asked_at_its_own_address(apiserver: FakeCluster, tmp_path: Path):
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


def test_an_event_goes_to_the_functions_own_address(cluster: Cluster, knative: Knative):
    platform = KnativePlatform(cluster, KnativeSettings(), SITE)
    with pytest.raises(NotFoundError):
        platform.find_address("roses")
    deploy(cluster)
    assert platform.find_address(NAME).startswith(f"http://{NAME}.{HOME}.svc")


def role_of(*flags: str) -> Role:
    """Return the Role that the command writes."""
    result = CliRunner().invoke(command, ["--image", AGENT_IMAGE, "--namespace", HOME, *flags])
    (role,) = [one for one in yaml.safe_load_all(result.stdout) if one["kind"] == "Role"]
    return Role(rules=role["rules"], namespace=HOME)


def look(cluster: Cluster, knative: Knative) -> KnativePlatform:
    """Read everything that the pages show."""
    platform = KnativePlatform(cluster, KnativeSettings(), SITE, by="console", ready_timeout_s=10)
    platform.status()
    platform.logs(NAME)
    return platform


@pytest.fixture
def deployed(cluster: Cluster, knative: Knative) -> Cluster:
    """A function with two revisions, of which the first gets every request, and its agents."""
    deploy(cluster, app=full_app())
    deploy(cluster, IMAGES[1])
    knative.run(str(knative.service()["status"]["latestCreatedRevisionName"]))
    return cluster


def test_a_console_reads_with_its_role_and_can_change_nothing(
    deployed: Cluster, knative: Knative, apiserver: FakeCluster
):
    refused = grant(apiserver, role_of())
    platform = look(deployed, knative)
    assert set(at(HOME, refused)) == set(), refused
    for change in (platform.promote, platform.rollback):
        with pytest.raises(DeniedError):
            change(NAME)


def test_a_writable_console_promotes_and_rolls_back_with_its_role(
    deployed: Cluster, knative: Knative, apiserver: FakeCluster
):
    refused = grant(apiserver, role_of("--writable"))
    platform = look(deployed, knative)
    platform.promote(NAME)
    platform.rollback(NAME)
    assert set(at(HOME, refused)) == set(), refused

"""Requests that an agent sends to replicas which don't live long: a real agent's deliverers, spool and functions."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from eaves.delivery import SinkClient
from eaves.events import IMAGE_CAPTURED, Event
from eaves.rollout.counters import RequestCounters
from eaves.sources.agent.deliverers import build_deliverers
from eaves.sources.settings import IMAGES, AgentSettings
from eaves.spool import Spool
from functions.function_app import FunctionApp
from functions.routes import build_flask
from functions.service import Service
from functions.settings import FunctionSettings
from knative.client.cluster import Cluster
from knative.status.traffic import parse_rollout_status
from tests.cluster.rollouts import FIRST, SECOND, advance, redeploy, shares
from tests.fakes.controllers.serving import Serving
from tests.fakes.kubernetes.apiserver import FakeCluster
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier
from tests.inputs.settings import settings_from
from tests.waiting import wait_until

RED = encode_png(COLOURS["red"])


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


class Gateway:
    """Sends requests to the replica that a test has started last.

    Attributes:
        url: Address of the function.
        spool: Spool of the agent.
    """

    def __init__(self, serving: Serving, folder: Path, spool: Spool) -> None:
        self._serving, self.spool = serving, spool
        self._artifact = write_colours(folder / "artifact")
        self._app: Callable[..., Any] = lambda *_: [b""]
        self._server = make_server("127.0.0.1", 0, self._answer, handler_class=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self._images = 0

    def _answer(self, environ: dict[str, Any], start: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return self._app({**environ, "wsgi.input": BytesIO(body)}, start)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def start(self, revision: str, *, is_old: bool = False) -> None:
        """Run a replica; one of an old version of Eaves doesn't name its revision."""
        model = FakeModel(build_classifier(self._artifact))
        environ = {} if is_old else {"K_REVISION": revision}
        service = Service(model, FunctionSettings(host="0.0.0.0"), concurrency=1, environ=environ)
        self._app = FunctionApp(service, lambda: build_flask(service))
        self._serving.start_pod("replica", revision).metrics = service.metrics

    def stop(self) -> None:
        """Scale to zero."""
        self._serving.stop_pod("replica")

    def send(self, images: int, data: bytes = RED) -> None:
        """Let the agent send images, each of which is predicted or refused."""
        for _ in range(images):
            self._images += 1
            self.spool.put(image(f"id-{self._images}", data), lanes=(IMAGES,))
        wait_until(lambda: not self.spool.depth(IMAGES))


def image(event_id: str, data: bytes = RED) -> Event:
    source = "/eaves/barn/gate"
    return Event(id=event_id, source=source, type=IMAGE_CAPTURED, datacontenttype="image/png", data=data)


@contextmanager
def delivering(spool: Spool, url: str) -> Iterator[None]:
    values = {"function": url, "sink": "http://127.0.0.1:9/"}
    settings = settings_from(AgentSettings, values)
    with SinkClient() as client:
        deliverers = build_deliverers(settings, spool, client, {})
        for one in deliverers:
            one.start()
        try:
            yield
        finally:
            assert all(one.stop(10) for one in deliverers)


@pytest.fixture
def gateway(cluster: Cluster, serving: Serving, tmp_path: Path) -> Iterator[Gateway]:
    """The second revision has 10 %; the agent has asked the first one, which runs in no pod, for weeks."""
    with Spool(tmp_path / "agent.db") as spool:
        for number in range(30):
            spool.put(image(f"before-{number}"))
            spool.ack(spool.peek("out")[0], outcome=(FIRST, "failed"))
        serving.start_agent("flowers-gate-0", spool)
        redeploy(cluster, serving)
        serving.stop_pod("first")
        serving.ready(SECOND)
        advance(cluster, 0)
        one = Gateway(serving, tmp_path, spool)
        try:
            with delivering(spool, one.url):
                yield one
        finally:
            one.close()


def counted(serving: Serving, revision: str) -> RequestCounters:
    state = parse_rollout_status(serving.service()).state
    assert state is not None
    return state.counts.step(revision)


def test_what_replicas_answered_that_scaled_to_zero_before_any_look_moves_a_rollout(
    cluster: Cluster, serving: Serving, gateway: Gateway
):
    for images in (19, 0):
        gateway.start(SECOND)
        gateway.send(images)
        gateway.stop()
    assert "too few requests: 19 of 20" in advance(cluster, 61).reason
    gateway.start(SECOND)
    gateway.send(1)
    gateway.stop()
    assert advance(cluster, 62).what == "advance"
    assert shares(serving) == {FIRST: 50, SECOND: 50}


def test_each_request_is_counted_once_whoever_sends_it(cluster: Cluster, serving: Serving, gateway: Gateway):
    gateway.start(SECOND)
    gateway.send(5)
    gateway.send(2, b"no image")
    with SinkClient() as client:
        for number in range(3):  # a program without a spool
            client.post(gateway.url, image(f"x-{number}"), prefer_reply=True, timeout_s=10)
    for look in (5, 6):  # the second one finds nothing new
        advance(cluster, look)
        step = counted(serving, SECOND)
        assert (step.answered, step.failed, step.refused) == (8, 0, 2)
    assert counted(serving, FIRST).judged == 0, "what the agent counted before the rollout isn't of it"


def test_a_replica_of_a_version_that_names_no_revision_counts_itself(
    cluster: Cluster, serving: Serving, gateway: Gateway
):
    gateway.start(SECOND, is_old=True)
    gateway.send(4)
    advance(cluster, 5)
    assert counted(serving, SECOND).answered == 4


def test_an_agent_that_cannot_be_asked_is_named_and_catches_up(
    cluster: Cluster, apiserver: FakeCluster, serving: Serving, gateway: Gateway
):
    gateway.start(SECOND)
    gateway.send(3)
    agents, serving.agents = serving.agents, {}
    assert "can't be read (flowers-gate-0: /health answered 404" in advance(cluster, 5).reason
    assert counted(serving, SECOND).answered == 0
    serving.agents = agents
    advance(cluster, 6)
    assert counted(serving, SECOND).answered == 3
    apiserver.denied.add(("get", "configmaps"))
    gateway.send(1)
    assert "can't be read (agents: " in advance(cluster, 7).reason
    assert counted(serving, SECOND).answered == 4, "those beside the function are asked all the same"

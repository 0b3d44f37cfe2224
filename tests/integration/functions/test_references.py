"""Events that only refer to their data, over the whole application: fetched, checked, kept within bounds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from werkzeug.test import Client, TestResponse

from eaves.events import IMAGE_CAPTURED, Event, encode_binary
from functions.http.app import create_app
from functions.settings import FunctionSettings
from tests.fakes.http.proxy import open_proxy
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier

RED, GREEN = encode_png(COLOURS["red"]), encode_png(COLOURS["green"])
EVENT = Event(id="1", source="/eaves/barn/camera", type=IMAGE_CAPTURED, datacontenttype="image/png")
SECRET = "X-Signature=hunter2"


class Store(ThreadingHTTPServer):
    """Gives one picture."""

    daemon_threads = True
    data = RED

    def __init__(self) -> None:
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = 404 if self.path.startswith("/gone") else 200
                self.send_response(status)
                self.end_headers()
                self.wfile.write(store.data)

            def log_message(self, *arguments: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as made:
        thread = threading.Thread(target=made.serve_forever, args=[0.01])
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Client:
    chosen = FunctionSettings(
        dataref_hosts=(f"127.0.0.1:{store.server_port}",),
        dataref_schemes=("http",),
        dataref_networks=("127.0.0.0/8",),
    )
    model = FakeModel(build_classifier(write_colours(tmp_path / "artifact")))
    return Client(create_app(model, chosen, concurrency=2))


def send(client: Client, store: Store, path: str = "/a.png", **extensions: str) -> TestResponse:
    reference = f"http://127.0.0.1:{store.server_port}{path}?{SECRET}"
    headers, body = encode_binary(replace(EVENT, id=path).with_extensions(dataref=reference, **extensions))
    return client.post("/", data=body, headers=headers)


def test_what_is_referred_to_is_predicted(client: Client, store: Store) -> None:
    assert send(client, store).headers["ce-label"] == "red"


def test_it_is_fetched_through_the_proxy_of_the_process(store: Store, tmp_path: Path) -> None:
    place = "192.0.2.7"  # an address for documentation, which only the proxy leads to
    settings = FunctionSettings(
        dataref_hosts=(place,), dataref_schemes=("http",), dataref_networks=(f"{place}/32",), dataref_timeout_s=20
    )
    model = FakeModel(build_classifier(write_colours(tmp_path / "artifact")))
    with open_proxy() as proxy:
        proxy.routes[f"{place}:80"] = store.server_port
        app = create_app(model, settings, concurrency=1, environ={"http_proxy": f"http://{proxy.host}"})
        headers, body = encode_binary(EVENT.with_extensions(dataref=f"http://{place}/a.png"))
        assert Client(app).post("/", data=body, headers=headers).headers["ce-label"] == "red"
    assert proxy.targets() == [f"CONNECT {place}:80"]


@pytest.mark.parametrize("path", ["/gone", "/a.png"])
def test_a_signed_url_is_neither_answered_nor_logged(
    client: Client, store: Store, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        response = send(client, store, path)
    assert "hunter2" not in response.text + str(response.headers) + caplog.text + str([vars(r) for r in caplog.records])

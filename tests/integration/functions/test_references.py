"""Events that only refer to their data, over the whole application: fetched, checked, kept within bounds."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eaves.events import IMAGE_CAPTURED, Event, encode_binary
from eaves.inference.session import Session
from functions.pipeline import Classifier, Prediction, Turn
from functions.settings import FunctionSettings, ServeSettings
from tests.fakes.http.proxy import open_proxy
from tests.fakes.models.artifact import COLOURS, ColourSession, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier, create_app
from tests.integration.functions.stores import Store, answer, open_store

RED, GREEN = encode_png(COLOURS["red"]), encode_png(COLOURS["green"])
EVENT = Event(id="1", source="/eaves/barn/camera", type=IMAGE_CAPTURED, datacontenttype="image/png")
SECRET = "X-Signature=hunter2"


@pytest.fixture
def store() -> Iterator[Store]:
    """It has one picture, and nothing at /gone."""
    with open_store() as opened:
        opened.gone, opened.answers["/gone"] = answer(RED), opened.gone
        yield opened


@pytest.fixture
def client(store: Store, tmp_path: Path) -> FlaskClient:
    return serve(store, tmp_path)


class Held(Classifier):
    """A classifier that waits until it is released."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.entered, self.go = threading.Event(), threading.Event()

    def predict(self, data: bytes, *, turn: Turn = nullcontext) -> Prediction:
        """Predict as the real classifier does."""
        self.entered.set()
        assert self.go.wait(20)
        return super().predict(data, turn=turn)


def serve(store: Store, folder: Path, classifier: Classifier | None = None, **settings: int) -> FlaskClient:
    chosen = FunctionSettings(
        dataref_hosts=(f"127.0.0.1:{store.port}",),
        dataref_schemes=("http",),
        dataref_networks=("127.0.0.0/8",),
        **settings,  # type: ignore[arg-type]
    )
    model = FakeModel(classifier or build_classifier(write_colours(folder / "artifact")))
    return create_app(model, chosen, concurrency=2).test_client()


def send(client: FlaskClient, store: Store, path: str = "/a.png", **extensions: str) -> TestResponse:
    reference = f"http://127.0.0.1:{store.port}{path}?{SECRET}"
    headers, body = encode_binary(replace(EVENT, id=path).with_extensions(dataref=reference, **extensions))
    return client.post("/", data=body, headers=headers)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_what_is_referred_to_is_predicted(client: FlaskClient, store: Store):
    assert send(client, store).headers["ce-label"] == "red"


def test_it_is_fetched_through_the_proxy_of_the_process(store: Store, tmp_path: Path):
    place = "192.0.2.7"  # an address for documentation, which only the proxy leads to
    settings = FunctionSettings(
        dataref_hosts=(place,), dataref_schemes=("http",), dataref_networks=(f"{place}/32",), dataref_timeout_s=20
    )
    model = FakeModel(build_classifier(write_colours(tmp_path / "artifact")))
    with open_proxy() as proxy:
        proxy.routes[f"{place}:80"] = store.port
        app = create_app(model, settings, concurrency=1, environ={"http_proxy": f"http://{proxy.host}"})
        headers, body = encode_binary(EVENT.with_extensions(dataref=f"http://{place}/a.png"))
        assert app.test_client().post("/", data=body, headers=headers).headers["ce-label"] == "red"
    assert proxy.targets() == [f"CONNECT {place}:80"]


def test_it_must_have_the_digest_that_the_event_says(client: FlaskClient, store: Store):
    says = {digest(RED).upper(): 200, digest(GREEN): 503, "sha256:abc": 422, "md5:abc": 422}
    assert {said: send(client, store, datadigest=said).status_code for said in says} == says


def test_a_signed_url_is_neither_answered_nor_logged(
    client: FlaskClient, store: Store, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("DEBUG"):
        responses = [send(client, store, path) for path in ("/gone", "/a.png")]
    texts = [response.text + str(response.headers) for response in responses]
    assert "hunter2" not in "".join(texts) + caplog.text + str([vars(record) for record in caplog.records])


def test_all_that_is_held_at_once_fits_into_memory(store: Store, tmp_path: Path):
    """Each is small enough; the second has no room while the first is predicted, and may come again."""
    classifier = Held(write_colours(tmp_path / "artifact"), cast(Session, ColourSession()), ServeSettings())
    client = serve(store, tmp_path, classifier, max_body_bytes=1024, dataref_max_bytes=1024)
    store.gone = answer(RED + bytes(900))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, client.application.test_client(), store, "/first")
        assert classifier.entered.wait(20)
        refused = send(client, store, "/second")
        classifier.go.set()
        assert first.result(20).status_code == 200
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert send(client, store, "/second").status_code == 200

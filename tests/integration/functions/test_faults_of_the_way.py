"""What goes wrong between a function and others is no fault of an image: it waits, and is predicted in the end.

A real application of a function, a spool and its deliverer, and a server that is a store, or answers in its place.
"""

import hashlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from eaves.base.backoff import Backoff
from eaves.delivery import Deliverer, EventSender, SinkResponse
from eaves.delivery.response_rules import FETCH_PROBLEMS
from eaves.events import IMAGE_CAPTURED, Event, decode, encode_binary
from eaves.problem_document import find_kind, parse_problem
from eaves.spool import Entry, Puts, Spool
from functions.settings import FunctionSettings
from tests.fakes.models.artifact import COLOURS, encode_png, write_colours
from tests.fakes.models.model import FakeModel, build_classifier, create_app
from tests.integration.functions.stores import S3, Store, answer, open_store
from tests.waiting import wait_until

LANE = "images"
RED = encode_png(COLOURS["red"])
IMAGE = answer(RED)
DIGEST = f"sha256:{hashlib.sha256(RED).hexdigest()}"
PAGE = b"<!doctype html><html><h1>Welcome to the harbour's network</h1>"
HOST = "localhost"
ROUTER = "192.168.8.1"
"""What a router answers for every name while it has no uplink; no function may connect there."""


def event(store: Store, name: str, **extensions: str) -> Event:
    """An event that refers to an object."""
    return Event(
        id=name,
        source="/eaves/harbour/quay",
        type=IMAGE_CAPTURED,
        datacontenttype="image/png",
        extensions={"dataref": store.url(name, host=HOST), **extensions},
    )


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store() as opened:
        yield opened


@pytest.fixture
def client(store: Store, tmp_path: Path) -> FlaskClient:
    settings = FunctionSettings(
        dataref_hosts=(f"{HOST}:{store.port}",),
        dataref_schemes=("http",),
        dataref_networks=("127.0.0.0/8",),
    )
    model = FakeModel(build_classifier(write_colours(tmp_path / "artifact")))
    return create_app(model, settings, concurrency=1).test_client()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db") as opened:
        yield opened


@dataclass(slots=True, kw_only=True)
class Lane:
    """What a lane's deliverer sees.

    Attributes:
        refusals: (status, problem type) of each refusal.
        labels: Label of each prediction, by the event's id.
    """

    refusals: list[tuple[int, str]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


@contextmanager
def deliver(spool: Spool, client: FlaskClient, damage: Callable[[bytes], bytes] = lambda body: body) -> Iterator[Lane]:
    """Deliver the spool's events to a function, and let `damage` change each body on its way."""
    lane = Lane()

    def send(event: Event) -> SinkResponse:
        headers, body = encode_binary(event)
        answer = client.post("/", data=damage(body), headers=headers)
        if answer.status_code != 200:
            assert "Retry-After" not in answer.headers
            lane.refusals.append((answer.status_code, find_kind(parse_problem(answer.data))))
            return SinkResponse(status=answer.status_code, body=answer.data)
        return SinkResponse(status=200, event=decode(dict(answer.headers), answer.data))

    def keep(entry: Entry, reply: Event) -> Puts:
        lane.labels[entry.event.id] = reply.extensions["label"]
        return []

    backoff = Backoff(retry=None, first_s=0.001, cap_s=0.01)
    deliverer = Deliverer(spool, LANE, EventSender(send, on_reply=keep, reply_required=True), backoff=backoff)
    deliverer.start()
    try:
        yield lane
    finally:
        assert deliverer.stop(10.0)


def page(status: int = 200, Content_Type: str = "text/html; charset=utf-8", **headers: Any) -> bytes:  # noqa: N803
    return answer(PAGE, status, Content_Type=Content_Type, **headers)


HIJACKED = (
    page(),
    page(Content_Type="image/png"),
    page(Content_Encoding="gzip"),
    page(302, Location="http://login.harbour.example/?from=store"),
    page(404),
    page(403),
    page(511),
)


def test_an_answer_that_is_not_the_stores_makes_images_wait(store: Store, client: FlaskClient, spool: Spool):
    names = [f"/{number}.png" for number in range(10)]
    for number, name in enumerate(names):
        store.answers[name] = IMAGE
        spool.put(event(store, name, **({"datadigest": DIGEST} if number % 2 else {})), lanes=(LANE,))
    store.hijack = HIJACKED[0]
    with deliver(spool, client) as lane:
        for store.hijack in HIJACKED:
            before = len(lane.refusals)
            wait_until(lambda before=before: len(lane.refusals) >= before + 25, 20)  # type: ignore[misc]
            assert spool.counts() == {LANE: (10, 0)}
        assert {status for status, _ in lane.refusals} == {503}
        assert {kind for _, kind in lane.refusals} <= FETCH_PROBLEMS
        store.hijack = None
        wait_until(lambda: not spool.counts(), 20)
    assert lane.labels == dict.fromkeys(names, "red")


def test_where_a_portal_redirected_to_the_stores_answer_blames_no_event(
    store: Store, client: FlaskClient, spool: Spool
):
    """The link returns between the portal's redirect and the request that follows it to the store."""
    store.answers["/1.png"] = answer(status=302, Location="/login")
    spool.put(event(store, "/1.png"), lanes=(LANE,))
    with deliver(spool, client) as lane:
        wait_until(lambda: len(lane.refusals) >= 3, 20)
        store.answers["/1.png"] = answer(status=302, Location="/login", **S3)
        wait_until(lambda: spool.counts() == {LANE: (0, 1)}, 20)
    assert set(lane.refusals) == {(503, "delivery"), (422, "claim")}


def test_a_name_that_a_router_answers_makes_images_wait(
    store: Store, client: FlaskClient, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    """Without an uplink, 4G routers and portals answer every name with an address of their own."""
    resolve = socket.getaddrinfo

    def answer_with_itself(host: str, port: int, **options: Any) -> list[Any]:
        assert host == HOST
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ROUTER, port))]

    names = [f"/{number}.png" for number in range(10)]
    for name in names:
        store.answers[name] = IMAGE
        spool.put(event(store, name), lanes=(LANE,))
    monkeypatch.setattr(socket, "getaddrinfo", answer_with_itself)
    with deliver(spool, client) as lane:
        wait_until(lambda: len(lane.refusals) >= 25, 20)
        assert spool.counts() == {LANE: (10, 0)}
        assert set(lane.refusals) == {(503, "unreachable")}
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        wait_until(lambda: not spool.counts(), 20)
    assert lane.labels == dict.fromkeys(names, "red")


def test_what_the_store_itself_says_is_believed_at_once(store: Store, client: FlaskClient, spool: Spool):
    page = f"sha256:{hashlib.sha256(PAGE).hexdigest()}"
    store.answers["/proven-by-header"] = answer(PAGE, **S3)
    store.answers["/proven-by-digest"] = answer(PAGE)
    store.answers["/good.png"] = IMAGE
    for sent in (
        event(store, "/gone.png"),
        event(store, "/proven-by-header"),
        event(store, "/proven-by-digest", datadigest=page),
        event(store, "/good.png"),
    ):
        spool.put(sent, lanes=(LANE,))
    with deliver(spool, client) as lane:
        wait_until(lambda: spool.counts() == {LANE: (0, 3)}, 20)
    assert sorted(lane.refusals) == [(422, "claim"), (422, "image"), (422, "image")]
    assert lane.labels == {"/good.png": "red"}


@pytest.mark.parametrize("bad", ["/gone.png", "/bad.png", "/other.png"])
def test_one_object_that_stays_bad_does_not_wait_for_ever(store: Store, client: FlaskClient, spool: Spool, bad: str):
    """A plain web server proves nothing, so the other images of the same server decide."""
    store.gone = page(404)
    store.answers["/bad.png"] = answer(PAGE)
    store.answers["/other.png"] = answer(encode_png(COLOURS["green"]))
    store.answers["/good.png"] = IMAGE
    spool.put(event(store, bad, **({"datadigest": DIGEST} if bad == "/other.png" else {})), lanes=(LANE,))
    put = iter(range(1_000))

    def given_up() -> bool:
        if spool.counts().get(LANE, (0, 0))[0] <= 1:
            spool.put(event(store, f"/good.png?{next(put)}"), lanes=(LANE,))
        return spool.counts().get(LANE, (0, 0))[1] == 1

    with deliver(spool, client) as lane:
        wait_until(given_up, 60)
    assert {status for status, _ in lane.refusals} == {503}
    assert len(lane.refusals) <= 100
    assert bad not in lane.labels


def test_an_image_that_was_damaged_on_its_way_is_sent_again(client: FlaskClient, spool: Spool):
    image = Event(
        id="1",
        source="/eaves/harbour/quay",
        type=IMAGE_CAPTURED,
        datacontenttype="image/png",
        data=RED,
        extensions={"datadigest": DIGEST},
    )
    damages: list[Callable[[bytes], bytes]] = [
        lambda body: body[:-20],
        lambda body: bytes([*body[:40], body[40] ^ 1, *body[41:]]),
        lambda body: b"",
    ]

    def damage(body: bytes) -> bytes:
        return damages.pop()(body) if damages else body

    spool.put(image, lanes=(LANE,))
    with deliver(spool, client, damage) as lane:
        wait_until(lambda: not spool.counts(), 20)
    assert lane.refusals == [(503, "damaged")] * 3
    assert lane.labels == {"1": "red"}

"""The relay's side of the link over real TLS, against a receiver that answers as a test tells it."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from eaves.errors import ConfigError, DeliveryError, StatusError, UnreachableError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event
from eaves.link.client import LinkClient
from eaves.link.protocol import BatchAnswer, pack
from tests.fakes.http.receiver import FakeReceiver, Reply, encode_answer, receiving
from tests.processes.receiving import receiving as real_receiver

EVENTS = [
    Event(id=f"id-{number}", source="/eaves/north/flowers", type=IMAGE_CLASSIFIED, data=b'{"label": "rose"}')
    for number in range(100)
]
IMAGE = Event(
    id="image", source="/eaves/north/gate", type=IMAGE_CAPTURED, datacontenttype="image/jpeg", data=os.urandom(300_000)
)
PATIENT_S = 15.0
"""Longer than a busy machine takes for anything here, and shorter than the requests that don't end by themselves."""


def send(client: LinkClient, events: Sequence[Event], *, timeout_s: float = 60.0) -> BatchAnswer:
    return client.send_packed(pack(events), timeout_s=timeout_s)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[FakeReceiver]:
    with receiving(tmp_path / "link") as made:
        yield made


@pytest.fixture
def client(receiver: FakeReceiver, tmp_path: Path) -> Iterator[LinkClient]:
    made = LinkClient(receiver.url + "/", tmp_path / "link")
    yield made
    made.close()


def test_batches_and_probes_share_one_connection(receiver: FakeReceiver, client: LinkClient):
    assert client.probe() == "north"
    assert send(client, EVENTS) == BatchAnswer(stored=100, repeated=0)
    assert send(client, [*EVENTS, IMAGE]) == BatchAnswer(stored=1, repeated=100)
    assert receiver.received == [*EVENTS, IMAGE]
    assert len(receiver.connections) == 1
    assert client.bytes_sent == sum(receiver.sizes)
    assert receiver.sizes[0] < 2_000


def test_a_picture_alone_is_sent_as_it_is(receiver: FakeReceiver, client: LinkClient):
    assert send(client, [IMAGE]) == BatchAnswer(stored=1, repeated=0)
    assert (receiver.received, receiver.sizes) == ([IMAGE], [len(IMAGE.data)])


def test_a_token_that_changes_is_used_from_the_next_request_on(
    receiver: FakeReceiver, client: LinkClient, tmp_path: Path
):
    send(client, EVENTS[:1])
    receiver.token = "renewed"
    with pytest.raises(StatusError) as caught:
        send(client, EVENTS[1:2])
    assert caught.value.status == 401
    shown = tmp_path / "link" / "token"
    assert caught.value.detail == (
        f"answered 401: no site has this token; the token in {shown} was sent; compare it with the file of this "
        "site at the receiver"
    )
    (tmp_path / "link" / "token").write_text("renewed\n")
    assert send(client, EVENTS[1:2]).stored == 1
    assert len(receiver.connections) == 1


def test_a_client_that_is_not_known_learns_what_is_missing_here(tmp_path: Path):
    with real_receiver(tmp_path, tls=False) as served:
        to, folder = f"http://127.0.0.1:{served.port}", tmp_path / "mine"
        folder.mkdir()
        reported = "the request doesn't identify a site of this receiver; "
        with pytest.raises(
            StatusError, match=f"{reported}no credentials folder is set on this side, so no token was sent$"
        ):
            LinkClient(to).probe()
        with pytest.raises(StatusError, match=f"{reported}{folder}/token is missing or empty"):
            LinkClient(to, folder).probe()
        (folder / "token").write_text("a-token-of-nobody-at-all")
        with pytest.raises(StatusError, match=f"{reported}the token in {folder}/token was sent; compare it"):
            LinkClient(to, folder).probe()


def test_credentials_that_are_not_there_are_reported_by_their_names(receiver: FakeReceiver, tmp_path: Path):
    client = LinkClient(receiver.url, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="nothing: is not a folder"):
        client.probe()
    (tmp_path / "link" / "token").write_text("two\nlines")
    with pytest.raises(ConfigError) as caught:
        LinkClient(receiver.url, tmp_path / "link").probe()
    assert "lines" not in str(caught.value)


def test_what_is_no_account_of_every_event_is_no_answer(receiver: FakeReceiver, client: LinkClient):
    whole = encode_answer(BatchAnswer(stored=100, repeated=0))
    for reply in (
        Reply(body=b"<html>log in here</html>", headers={"Content-Type": "text/html"}),
        Reply(body=encode_answer(BatchAnswer(stored=99, repeated=0))),
        Reply(body=whole, cut_after=20),
        Reply(status=204),
        Reply(status=202, body=whole),
        Reply(status=302, headers={"Location": "https://login.example/"}),
    ):
        receiver.script = lambda events, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(DeliveryError):
            send(client, EVENTS)
    receiver.script = lambda events: None
    assert send(client, EVENTS).stored == 100


def test_what_the_receiver_says_is_reported(receiver: FakeReceiver, client: LinkClient):
    problem = b'{"detail": "the queue is full (1.0 GB)"}'
    receiver.script = lambda events: Reply(status=429, body=problem, headers={"Retry-After": "7"})
    with pytest.raises(StatusError) as caught:
        send(client, EVENTS)
    assert caught.value.message == f"POST {receiver.url}/v1/events answered 429: the queue is full (1.0 GB)"
    assert (caught.value.status, caught.value.retry_after_s) == (429, 7.0)


def test_a_page_that_is_no_receivers_is_no_probe(receiver: FakeReceiver, client: LinkClient):
    for body in (b"ok", b"{}", b'{"site": 1}', b'{"site": ""}'):
        receiver.site_reply = lambda body=body: Reply(body=body)  # type: ignore[misc]
        with pytest.raises(DeliveryError, match="no receiver answers at"):
            client.probe()


def test_a_receiver_that_is_silent_ends_the_request_in_time(receiver: FakeReceiver, client: LinkClient):
    receiver.script = lambda events: Reply(silent=True)
    began = time.monotonic()
    with pytest.raises(DeliveryError, match=r"no answer from .* within 0\.4 s"):
        send(client, EVENTS, timeout_s=0.4)
    assert time.monotonic() - began < PATIENT_S


def test_no_receiver_no_name_and_plain_http_are_distinguished(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(UnreachableError, match=r"can't be reached: connection refused$"):
        LinkClient(f"https://127.0.0.1:{port}").probe()
    with pytest.raises(UnreachableError, match=r"can't be reached: its name is not found$"):
        LinkClient("https://receiver.invalid").probe()
    with receiving(tmp_path / "plain", tls=False) as plain:
        with pytest.raises(UnreachableError, match="TLS failed"):
            LinkClient(plain.url.replace("http:", "https:"), tmp_path / "plain").probe()
        assert LinkClient(plain.url, tmp_path / "plain").probe() == "north"

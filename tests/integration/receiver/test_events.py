"""What a receiver answers sites over real TLS: stored, repeated, refused; what one site holds keeps no other out."""

import gzip
import hashlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eaves.event_batch import MEDIA_TYPE, encode_batch
from eaves.events import Event, encode_binary
from eaves.link.protocol import EVENTS, FUNCTIONS, HEALTH, LEDGER, PARTS, SITE, UPLOAD, parse_batch_answer
from tests.contract.sinks import Reported, open_sink
from tests.inputs.certificates import make_certificate
from tests.processes.receiving import TOKEN, Sender, Served, captured, classified, receiving, write_site
from tests.waiting import wait_until

MAX_BYTES = 1_000_000


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Served]:
    with receiving(tmp_path, max_bytes=MAX_BYTES, spool_max_bytes=10_000_000) as started:
        yield started


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For tests that leave nothing behind."""
    with receiving(tmp_path_factory.mktemp("receiver"), max_bytes=MAX_BYTES, spool_max_bytes=10_000_000) as started:
        yield started


@pytest.fixture
def sender(receiver: Served) -> Iterator[Sender]:
    with receiver.sender() as made:
        yield made


def test_a_batch_is_stored_once_however_often_it_comes(receiver: Served, sender: Sender):
    events = [captured(number) for number in range(20)] + [classified(number) for number in range(20)]
    first = sender.send(events)
    assert (first.stored, first.repeated, first.refused) == (40, 0, ())
    again = sender.send(events)
    assert (again.stored, again.repeated, again.refused) == (0, 40, ())
    assert receiver.queued() == 40
    assert receiver.report()["received"]["mill"] == {"stored": 40, "repeated": 40}
    assert 'eaves_receiver_events_total{site="mill",outcome="repeated"} 40' in receiver.metrics()


def test_events_wait_while_the_sink_is_not_known(tmp_path: Path):
    """A SinkBinding takes K_SINK away while it finds no Broker: a receiver that ended then would refuse every site."""
    with receiving(tmp_path, sink="") as receiver, receiver.sender() as sender:
        assert sender.send([classified(1)]).stored == 1
        wait_until(lambda: "K_SINK is not set" in str(receiver.report()))
        assert receiver.queued() == 1


def test_an_event_of_another_site_is_forged_and_the_others_are_stored(receiver: Served, sender: Sender):
    answer = sender.send([classified(1), classified(2, site="harbour"), classified(3, site="mill2"), classified(4)])
    assert (answer.stored, [(one.index, one.status) for one in answer.refused]) == (2, [(1, 403), (2, 403)])
    assert "must begin with /eaves/mill/" in answer.refused[0].detail
    assert sender.send_alone(classified(5, site="harbour"))[0] == 403
    assert sender.send_alone(classified(5, source=""))[0] == 403
    assert receiver.report()["received"]["mill"] == {"stored": 2, "repeated": 0, "forged": 4}
    assert receiver.queued() == 2


def test_another_event_under_a_known_id_is_a_conflict(receiver: Served, sender: Sender):
    sender.send([captured(1)])
    answer = sender.send([captured(1, data=b"other"), captured(2)])
    assert (answer.stored, answer.repeated, [one.status for one in answer.refused]) == (1, 0, [409])
    same_batch = sender.send([captured(3), captured(3), captured(3, data=b"other")])
    assert (same_batch.stored, same_batch.repeated, [one.index for one in same_batch.refused]) == (1, 1, [2])
    assert sender.send_alone(captured(1, data=b"a third"))[0] == 409
    assert receiver.report()["received"]["mill"]["conflicting"] == 3


def test_an_event_that_came_in_parts_and_is_refused_is_accounted_for(sender: Sender):
    sender.send([captured(1)])
    for event, status in ((captured(1, data=b"x" * 9_000), 409), (captured(2, site="harbour"), 403)):
        headers, body = encode_binary(event)
        digest = hashlib.sha256(body).hexdigest()
        sender.ask("POST", f"{PARTS}{digest}?offset=0&size={len(body)}", body)
        refused = sender.ask("POST", EVENTS, b"", {**headers, UPLOAD: digest})
        assert refused[0] == 200
        assert [one.status for one in parse_batch_answer(refused[1], 1).refused] == [status]
    headers, body = encode_binary(captured(3))
    digest = hashlib.sha256(body).hexdigest()
    sender.ask("POST", f"{PARTS}{digest}?offset=0&size={len(body)}", body)
    broken = sender.ask("POST", EVENTS, b"", {**headers, "ce-id": "", UPLOAD: digest})
    assert (broken[0], [one.status for one in parse_batch_answer(broken[1], 1).refused]) == (200, [400])


def test_a_broken_event_of_a_batch_is_refused_and_the_others_are_stored(receiver: Served, sender: Sender):
    good = json.loads(b"".join(encode_batch([classified(1), classified(2)])))
    body = json.dumps([good[0], {"id": "x"}, "text", good[1]])
    status, found = sender.ask("POST", EVENTS, body, {"Content-Type": MEDIA_TYPE})
    answer = json.loads(found)
    assert (status, answer["stored"], [one["index"] for one in answer["refused"]]) == (200, 2, [1, 2])
    assert receiver.report()["received"]["mill"]["malformed"] == 2


def test_a_body_that_can_not_be_used_is_refused(shared: Served):
    plain, packed = {"Content-Type": MEDIA_TYPE}, {"Content-Type": MEDIA_TYPE, "Content-Encoding": "gzip"}
    for headers, body, status in (
        (plain, b"{}", 400),
        (plain, b"[" * 100_000, 400),
        ({"Content-Type": "application/cloudevents-batch+avro"}, b"[]", 415),
        ({**plain, "Content-Encoding": "br"}, b"[]", 415),
        (packed, gzip.compress(b"[]", mtime=0)[:-3], 400),
        (plain, b" " * (MAX_BYTES + 1), 413),
        (plain, b"[0" + b",0" * 2_000 + b"]", 413),
        (packed, gzip.compress(b"\0" * 50_000_000, mtime=0), 413),
    ):
        outcome = "oversized" if status == 413 else "malformed"
        before = shared.report()["received"].get("mill", {})
        with shared.sender() as sender:
            found, problem = sender.ask("POST", EVENTS, body, headers)
        assert (found, json.loads(problem)["status"]) == (status, status)
        assert shared.report()["received"]["mill"] == {**before, outcome: before.get(outcome, 0) + 1}


def test_an_answer_with_lines_has_a_bounded_number_of_bytes(receiver: Served, sender: Sender):
    names = [f"{number}{'x' * 4_000}" for number in range(2_000)]
    for start in range(0, 2_000, 200):
        events = [replace(classified(1), id=name) for name in names[start : start + 200]]
        assert sender.send(events).stored == 200
    after = 0
    found: list[str] = []
    while True:
        _, body = sender.ask("GET", f"{LEDGER}?after={after}")
        if not body:
            break
        assert len(body) < 5_000_000
        lines = [json.loads(line) for line in body.splitlines()]
        found += [line["id"] for line in lines]
        after = lines[-1]["number"]
    assert found == names


def test_the_site_and_its_ledger_are_shown_to_it_alone(tmp_path: Path, receiver: Served, sender: Sender):
    write_site(tmp_path / "sites", "harbour", "token-of-the-harbour")
    assert sender.ask("GET", SITE) == (200, b'{"site": "mill"}')
    sender.send([classified(number) for number in range(5)])
    sender.send([classified(0)])
    with receiver.sender(token="token-of-the-harbour") as harbour:
        wait_until(lambda: harbour.ask("GET", SITE)[0] == 200, what="the new site")
    with receiver.sender(token="token-of-the-harbour") as harbour:
        harbour.send([classified(0, site="harbour")])
        status, found = harbour.ask("GET", LEDGER)
        assert (status, [json.loads(line)["source"] for line in found.splitlines()]) == (
            200,
            ["/eaves/harbour/flowers"],
        )
    lines = [json.loads(line) for line in sender.ask("GET", LEDGER)[1].splitlines()]
    assert [line["id"] for line in lines] == [f"id-{number}" for number in range(5)]
    assert [line["repeats"] for line in lines] == [1, 0, 0, 0, 0]
    page = sender.ask("GET", f"{LEDGER}?after={lines[1]['number']}&limit=2")[1].splitlines()
    assert [json.loads(line)["id"] for line in page] == ["id-2", "id-3"]
    for query in ("after=x", "limit=-1", "source_prefix=/", "after=" + "9" * 30):
        assert sender.ask("GET", f"{LEDGER}?{query}")[0] == 400


def test_routes_that_are_none(shared: Served):
    for method, path, status in (
        ("GET", "/", 404),
        ("POST", f"{EVENTS}/", 404),
        ("POST", "/v1/../v1/events", 404),
        ("GET", EVENTS, 405),
        ("PUT", EVENTS, 405),
        ("GET", f"{FUNCTIONS}flowers", 405),
        ("POST", HEALTH, 405),
        ("HEAD", SITE, 200),
        ("HEAD", HEALTH, 200),
    ):
        with shared.sender() as sender, shared.sender(token="") as stranger:
            found, headers, body = sender.ask_all(method, path)
            assert found == status
            assert (method == "HEAD") == (not body)
            assert (status == 405) == ("allow" in headers)
            assert stranger.ask(method, path)[0] == (status if path == HEALTH else 401)


def test_a_full_spool_is_the_relays_to_wait_out(tmp_path: Path):
    with receiving(tmp_path, max_bytes=600_000, spool_max_bytes=1_000_000) as receiver, receiver.sender() as sender:
        large = [captured(number, data=os.urandom(150_000)) for number in range(8)]
        for event in large[:6]:
            sender.send([event])
        status, headers, problem = sender.ask_all(
            "POST", EVENTS, b"".join(encode_batch(large[6:])), {"Content-Type": MEDIA_TYPE}
        )
        assert (status, headers["retry-after"], b"full" in problem) == (429, "2", True)
        assert sender.send(large[:2]).repeated == 2, "what is stored already needs no room"
        assert receiver.queued() == 6
        assert receiver.report()["received"]["mill"]["full"] == 1


def test_old_tls_is_not_spoken(receiver: Served):
    assert receiver.tls is not None
    old = receiver.tls
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)), receiver.sender() as sender:
        sender.ask("GET", SITE)


def test_a_site_is_known_by_its_certificate(tmp_path: Path):
    mine, other = make_certificate(tmp_path / "mine", "harbour"), make_certificate(tmp_path / "other", "harbour")
    nobody = make_certificate(tmp_path / "nobody", "lighthouse")
    write_site(tmp_path / "sites")
    write_site(tmp_path / "sites", "harbour", "# only by certificate")
    with receiving(tmp_path, authorities=[mine, nobody]) as receiver:
        assert receiver.tls is not None

        def ask(certificate: tuple[Path, Path], token: str = "") -> int:
            tls = ssl.create_default_context(cafile=str(tmp_path / "credentials" / "tls.crt"))
            tls.load_cert_chain(*certificate)
            with Sender(receiver.port, tls, token=token) as sender:
                status, body = sender.ask("GET", SITE)
                assert status != 200 or json.loads(body) == {"site": "harbour"}
                return status

        assert ask(mine) == 200
        assert ask(nobody) == 401, "its authority is trusted, and it names no site"
        assert ask(mine, token="token-of-the-mill-0123456789") == 401, "a token and a certificate of two sites"
        assert ask(mine, token="wrong") == 401
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(other)


PORT_TOKEN, BARN_TOKEN = "token-of-the-port-0123456789", "token-of-the-barn-0123456789"


@contextmanager
def receiving_from_three(place: Path, **settings: Any) -> Iterator[Served]:
    write_site(place / "sites")
    write_site(place / "sites", "port", PORT_TOKEN)
    write_site(place / "sites", "barn", BARN_TOKEN)
    with receiving(place, tls=False, max_bytes=MAX_BYTES, in_flight_bytes=2 * MAX_BYTES, **settings) as receiver:
        yield receiver


def hold(receiver: Served, token: str, size: int) -> socket.socket:
    """Send the most of a body, and keep the rest."""
    connection = socket.create_connection(("127.0.0.1", receiver.port), timeout=10)
    head = "POST /v1/events HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n"
    connection.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
    connection.sendall(b"10000\r\n%b\r\n" % bytes(0x10000) * (size // 0x10000))
    return connection


def test_sites_that_hold_everything_leave_a_reserve_for_small_events(tmp_path: Path):
    with receiving_from_three(tmp_path) as receiver, ExitStack() as stack:
        for token in (PORT_TOKEN, BARN_TOKEN):
            stack.enter_context(hold(receiver, token, 990_000))
        wait_until(lambda: receiver.server.budget.taken_bytes > 1_900_000, what="bodies that are held")
        with receiver.sender() as sender:
            assert sender.send([classified(1)]).stored == 1


def test_images_that_wait_for_a_function_keep_no_event_out(tmp_path: Path):
    with open_sink() as function, ExitStack() as stack:
        go_on = threading.Event()
        stack.callback(go_on.set)

        def decide(_: Event) -> Reported:
            go_on.wait(30)
            return Reported()

        function.decide = decide
        urls = json.dumps({"flowers": function.url})
        with receiving_from_three(tmp_path, functions=urls) as receiver:
            for token, site in ((TOKEN, "mill"), (PORT_TOKEN, "port"), (BARN_TOKEN, "barn")):
                sender = stack.enter_context(receiver.sender(token=token))
                headers, body = encode_binary(captured(1, site=site, data=bytes(900_000)))
                headers["Authorization"] = f"Bearer {token}"
                sender.connection.request("POST", f"{FUNCTIONS}flowers", body, headers)
            wait_until(lambda: len(function.received) == 2, what="two images at the function")
            with receiver.sender() as another:
                assert another.send_alone(captured(2, data=bytes(900_000)))[0] == 200


def test_a_body_that_came_in_parts_takes_memory_as_others_do(tmp_path: Path):
    image = captured(1, data=bytes(900_000))
    digest = hashlib.sha256(image.data).hexdigest()
    headers, body = encode_binary(image)
    with receiving_from_three(tmp_path) as receiver, receiver.sender() as sender:
        status, answer = sender.ask("POST", f"{PARTS}{digest}?offset=0&size={len(body)}", body)
        assert (status, json.loads(answer)) == (200, {"received": len(body)})
        structured = {UPLOAD: digest, "Content-Type": "application/cloudevents+json"}
        assert sender.ask("POST", EVENTS, b"", structured)[0] == 415
        with hold(receiver, TOKEN, 950_000):
            wait_until(lambda: receiver.server.budget.taken_bytes > 900_000, what="a body that is held")
            assert sender.ask("POST", EVENTS, b"", {**headers, UPLOAD: digest})[0] == 429
        wait_until(lambda: receiver.server.budget.taken_bytes == 0, what="free memory")
        status, answer = sender.ask("POST", EVENTS, b"", {**headers, UPLOAD: digest})
        assert (status, json.loads(answer)["stored"]) == (200, 1)
        assert receiver.server.budget.taken_bytes == 0

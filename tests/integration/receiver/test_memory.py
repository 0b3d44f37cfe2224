"""What one site holds of the receiver's memory keeps no other one out."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from eaves.events import Event, encode_binary
from eaves.link.protocol import EVENTS, FUNCTIONS, PARTS, UPLOAD
from tests.contract.sinks import Reported, open_sink
from tests.processes.receiving import TOKEN, Served, captured, classified, receiving, write_site
from tests.waiting import wait_until

MAX_BYTES = 1_000_000
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


def test_sites_that_hold_everything_leave_a_reserve_for_small_events(tmp_path: Path) -> None:
    with receiving_from_three(tmp_path) as receiver, ExitStack() as stack:
        for token in (PORT_TOKEN, BARN_TOKEN):
            stack.enter_context(hold(receiver, token, 990_000))
        wait_until(lambda: receiver.server.budget.taken_bytes > 1_900_000, what="bodies that are held")
        with receiver.sender() as sender:
            assert sender.send([classified(1)]).stored == 1


def test_images_that_wait_for_a_function_keep_no_event_out(tmp_path: Path) -> None:
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


def test_a_body_that_came_in_parts_takes_memory_as_others_do(tmp_path: Path) -> None:
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

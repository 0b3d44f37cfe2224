"""Functions in the cloud that agents ask through the receiver."""

import json
import threading
from pathlib import Path

from eaves.event_batch import MEDIA_TYPE
from eaves.events import Event, decode, encode_binary
from eaves.link.protocol import FUNCTIONS
from tests.contract.sinks import LocalSink, Reported, open_sink
from tests.processes.receiving import NOWHERE, captured, receiving
from tests.waiting import wait_until


def answering(sink: LocalSink) -> None:
    """Answer images as a function does; an image of no bytes is refused."""

    def decide(event: Event) -> Reported:
        if not event.data:
            return Reported(status=422, content_type="application/problem+json", body='{"title": "not an image"}')
        return Reported(echo=True)

    sink.decide = decide


def test_a_prediction_comes_back_with_the_functions_own_status(tmp_path: Path):
    with open_sink() as function:
        answering(function)
        urls = json.dumps({"flowers": function.url, "broken": NOWHERE})
        with receiving(tmp_path, functions=urls) as receiver, receiver.sender() as sender:
            headers, body = encode_binary(captured(1))
            status, answered, reply = sender.ask_all("POST", f"{FUNCTIONS}flowers", body, headers)
            assert (status, decode(answered, reply).data) == (200, captured(1).data)
            assert function.received == [captured(1)]

            headers, body = encode_binary(captured(2, data=b""))
            status, reply = sender.ask("POST", f"{FUNCTIONS}flowers", body, headers)
            assert (status, json.loads(reply)["title"]) == (422, "not an image")

            headers, body = encode_binary(captured(3))
            status, reply = sender.ask("POST", f"{FUNCTIONS}broken", body, headers)
            assert (status, b"127.0.0.1" in reply) == (503, False)
            assert sender.ask("POST", f"{FUNCTIONS}tulips", body, headers)[0] == 404
            assert sender.ask("POST", f"{FUNCTIONS}flowers/..", body, headers)[0] == 404
            assert sender.ask("POST", f"{FUNCTIONS}flowers", b"[]", {"Content-Type": MEDIA_TYPE})[0] == 415
            headers, body = encode_binary(captured(3, site="harbour"))
            assert sender.ask("POST", f"{FUNCTIONS}flowers", body, headers)[0] == 403
            with receiver.sender(token="wrong") as stranger:
                assert stranger.ask("POST", f"{FUNCTIONS}flowers", body, headers)[0] == 401
            assert len(function.received) == 2
            counted = receiver.report()["received"]["mill"]
            assert (counted["predicted"], counted["failed"], counted["forged"]) == (1, 2, 1)


def test_events_reach_the_sink_in_order(tmp_path: Path):
    answered: list[str] = []
    overtaken = threading.Event()

    def decide(event: Event) -> Reported:
        if event.id == captured(0).id:
            overtaken.wait(0.5)  # as long as another one may take to overtake it
        answered.append(event.id)
        overtaken.set()
        return Reported()

    with open_sink() as sink:
        sink.decide = decide
        with receiving(tmp_path, sink=sink.url) as receiver, receiver.sender() as sender:
            events = [captured(number) for number in range(5)]
            assert sender.send(events).stored == 5
            wait_until(lambda: receiver.queued() == 0, 30, what="an empty queue")
    assert answered == [event.id for event in events]

"""An agent beside a relay: which images go along, and a function in the cloud that asks who sends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from eaves.config import SettingsLayer, build
from eaves.delivery import SinkClient
from eaves.errors import ConfigError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_REJECTED, Event, decode, encode_binary
from eaves.link.client import CredentialedClient
from eaves.sources.agent.deliverers import build_deliverers
from eaves.sources.settings import IMAGES, REPLIES, AgentSettings
from eaves.spool import Spool
from tests.inputs.certificates import build_server_context, make_certificate
from tests.waiting import wait_until


class Function:
    """A function and the sink behind it: images are answered with predictions, everything else is taken.

    Attributes:
        sunk: Events that came to the sink, in order.
        tokens: Authorization headers that came with images.
        token: What images must come with; empty: nothing.
        sink_token: What events for the sink must come with; empty: nothing.
    """

    def __init__(self) -> None:
        self.sunk: list[Event] = []
        self.tokens: list[str] = []
        self.token = self.sink_token = ""


class _Handler(BaseHTTPRequestHandler):
    function: ClassVar[Function]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        event = decode(dict(self.headers.items()), self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/sink":
            if self.function.sink_token and self.headers["authorization"] != f"Bearer {self.function.sink_token}":
                self._answer(401, {}, b"")
                return
            self.function.sunk.append(event)
            self._answer(202, {}, b"")
            return
        if self.path == "/refuses":
            self._answer(422, {}, b'{"type": "urn:eaves:problem:image", "detail": "not an image"}')
            return
        reported = self.headers.get("authorization", "")
        self.function.tokens.append(reported)
        if self.function.token and reported != f"Bearer {self.function.token}":
            self._answer(401, {}, b"")
            return
        confidence = "low" if event.id.endswith("1") else "high"
        reply = Event(
            id=f"reply-{event.id}",
            source="/eaves/north/flowers",
            type=IMAGE_CLASSIFIED,
            datacontenttype="application/json",
            data=b"{}",
            extensions={"confidence": confidence, "causeid": event.id},
        )
        self._answer(200, *encode_binary(reply))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(certificate: tuple[Path, Path] | None = None) -> Iterator[tuple[Function, str]]:
    function = Function()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"function": function}))
    server.daemon_threads = True
    if certificate is not None:
        server.socket = build_server_context(certificate).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    scheme = "http" if certificate is None else "https"
    try:
        yield function, f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def delivering(folder: Path, **values: Any) -> Iterator[Spool]:
    """An agent's deliverers, and two images in its spool."""
    settings = build(AgentSettings, SettingsLayer(origin="test", values=values))
    with Spool(folder / "agent.db") as spool, SinkClient() as client:
        for number in range(2):
            spool.put(image(number), lanes=(IMAGES,))
        asked = settings.function_credentials
        function_client = CredentialedClient(asked) if asked else None
        deliverers = build_deliverers(settings, spool, client, {}, function_client)
        for deliverer in deliverers:
            deliverer.start()
        try:
            yield spool
        finally:
            assert all(deliverer.stop(10) for deliverer in deliverers)


def image(number: int) -> Event:
    return Event(
        id=f"id-{number}",
        source="/eaves/north/gate",
        type=IMAGE_CAPTURED,
        datacontenttype="image/jpeg",
        data=b"\xff\xd8\xff" * 100,
    )


@pytest.mark.parametrize(
    ("forward", "along"), [("none", []), ("low", ["id-1"]), ("all", ["id-0", "id-1"])], ids=["none", "low", "all"]
)
def test_images_go_along_with_their_predictions(tmp_path: Path, forward: str, along: list[str]) -> None:
    with (
        serving() as (function, url),
        delivering(tmp_path, function=f"{url}/f", sink=f"{url}/sink", forward_images=forward) as spool,
    ):
        wait_until(lambda: spool.depth() == 0)
        assert sorted(one.id for one in function.sunk) == sorted([*along, "reply-id-0", "reply-id-1"])
        assert {one.data for one in function.sunk if one.id in along} <= {image(0).data}


def test_the_sink_gets_what_the_function_refuses_and_its_image_when_images_are_wanted(tmp_path: Path) -> None:
    for forward, along in (("none", 0), ("low", 2)):
        with serving() as (function, url):
            addresses = {"sink": f"{url}/sink", "function": f"{url}/refuses"}
            with delivering(tmp_path / forward, **addresses, forward_images=forward) as spool:
                wait_until(lambda: spool.depth() == 0 and len(function.sunk) == 2 + along)  # noqa: B023 - within this turn
                assert [one.type for one in function.sunk].count(IMAGE_CAPTURED) == along


def test_the_sink_gets_what_the_function_refuses(tmp_path: Path) -> None:
    with serving() as (function, url), delivering(tmp_path, function=f"{url}/refuses", sink=f"{url}/sink") as spool:
        wait_until(lambda: spool.depth() == 0 and len(function.sunk) == 2)
        assert {one.type for one in function.sunk} == {IMAGE_REJECTED}
        assert sorted(one.extensions["causeid"] for one in function.sunk) == ["id-0", "id-1"]
        assert {one.extensions["causesource"] for one in function.sunk} == {"/eaves/north/gate"}
        problem = json.loads(function.sunk[0].data)
        assert (problem["status"], problem["function"]) == (422, f"{url}/refuses")
        assert "not an image" in problem["detail"]
        assert sorted(letter.entry.event.id for letter in spool.dead()) == ["id-0", "id-1"]


def test_a_dead_letter_and_what_tells_of_it_are_kept_in_one_commit(tmp_path: Path) -> None:
    sink = "http://127.0.0.1:9/"
    with serving() as (_, url), delivering(tmp_path, function=f"{url}/refuses", sink=sink) as spool:
        dead = wait_until(spool.dead)
        assert spool.counts()[REPLIES][0] >= len(dead)


def test_an_image_and_its_prediction_are_kept_in_one_commit(tmp_path: Path) -> None:
    with (
        serving() as (_, url),
        delivering(tmp_path, function=f"{url}/f", sink="http://127.0.0.1:9/", forward_images="all") as spool,
    ):
        wait_until(lambda: spool.counts().get("replies") == (4, 0) and "sink" not in spool.counts())


def test_a_function_in_the_cloud_is_asked_with_a_token_that_may_change(tmp_path: Path) -> None:
    folder = tmp_path / "link"
    certificate = make_certificate(folder)
    (folder / "ca.crt").write_bytes(certificate[0].read_bytes())
    (folder / "token").write_text("first\n")
    with serving(certificate) as (function, url), serving() as (sink, sink_url):
        function.token = "second"
        with delivering(
            tmp_path,
            function=f"{url}/v1/functions/flowers",
            function_credentials=str(folder),
            sink=f"{sink_url}/sink",
        ) as spool:
            wait_until(lambda: "Bearer first" in function.tokens)
            assert spool.depth() == 2
            (folder / "token").write_text("second\n")
            wait_until(lambda: len(sink.sunk) == 2, 20)
            assert set(function.tokens) == {"Bearer first", "Bearer second"}


def test_only_a_function_on_the_server_of_the_sink_gets_the_sinks_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serving() as (here, url), serving() as (other, elsewhere):
        for number, function in enumerate((f"{url}/f", f"{elsewhere}/f")):
            folder = tmp_path / str(number)
            with delivering(folder, function=function, sink=f"{url}/sink", sink_token=str(token)) as spool:
                wait_until(lambda: spool.depth() == 0)
        assert set(here.tokens) == {"Bearer secret"}
        assert set(other.tokens) == {""}


def test_images_wait_until_the_file_of_the_sinks_token_has_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    with serving() as (sink, url):
        sink.sink_token = "secret"
        with delivering(tmp_path, sink=f"{url}/sink", sink_token=str(token)) as spool:
            for content, reason in (("two\nlines\n", "holds no token"), ("wrong\n", "answered 401")):
                token.write_text(content)
                wait_until(lambda: reason in caplog.text, 20)  # noqa: B023 - it is called within this turn
            assert spool.depth() == 2
            token.write_text("secret\n")
            wait_until(lambda: len(sink.sunk) == 2, 20)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"function": "http://flowers.default.svc"}, "function: must begin with https://, unless"),
        ({}, "function_credentials: can be set only together with `function`"),
        (
            {"function": "https://a.b/f", "sink": "http://a.b/", "sink_token": "/token"},
            "sink: must begin with https://",
        ),
    ],
)
def test_a_token_is_never_sent_in_the_clear(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(AgentSettings, SettingsLayer(origin="test", values={"function_credentials": "/link", **values}))
    assert message in caught.value.message

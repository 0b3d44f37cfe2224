"""An agent beside a relay: which images go along, and a function in the cloud that asks who sends."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from eaves.delivery import SinkClient
from eaves.errors import ConfigError
from eaves.events import (
    IMAGE_CAPTURED,
    IMAGE_CLASSIFIED,
    IMAGE_REJECTED,
    MODEL_SHIFTED,
    Event,
    decode,
    encode_binary,
)
from eaves.inference.handler import Handler
from eaves.inference.session import Session
from eaves.link.client import CredentialedClient
from eaves.sources.agent.deliverers import build_deliverers
from eaves.sources.settings import IMAGES, REPLIES, AgentSettings
from eaves.spool import Spool
from functions.pipeline import Inspector, open_predictor
from functions.service import build_reply
from functions.settings import FunctionSettings, ServeSettings
from tests.fakes.http.server import Asked, open_server, respond
from tests.fakes.models.inspector import BrightSession, encode_spots, write_inspector
from tests.inputs.certificates import Certificate, build_server_context, make_certificate
from tests.inputs.settings import settings_from
from tests.waiting import wait_until


class Function:
    """A function and the sink behind it: images are answered with predictions, everything else is taken.

    Attributes:
        sunk: Events that came to the sink, in order.
        tokens: Authorization headers that came with images.
        marks: Headers of all events that say that the sender counts the outcome; empty ones too.
        token: What images must come with; empty: nothing.
        sink_token: What events for the sink must come with; empty: nothing.
        inspector: What the function that inspects images predicts with.
        asked, released: The function that hangs got an image; it needn't hang any longer.
    """

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        self.sunk: list[Event] = []
        self.tokens: list[str] = []
        self.marks: list[str] = []
        self.token = self.sink_token = ""
        self.inspector: Inspector | None = None
        self.turn = threading.Lock()

    def answer(self, asked: Asked) -> bytes:
        event, token = decode(asked.headers, asked.body), asked.headers.get("authorization", "")
        self.marks.append(asked.headers.get("eaves-counted", ""))
        if asked.target == "/sink":
            if self.sink_token and token != f"Bearer {self.sink_token}":
                return respond(401)
            self.sunk.append(event)
            return respond(202)
        if asked.target == "/refuses":
            return respond(422, b'{"type": "urn:eaves:problem:image", "detail": "not an image"}')
        if asked.target == "/inspects":
            assert self.inspector is not None
            with self.turn:
                found = self.inspector.predict(event.data)
            headers, body = encode_binary(build_reply(event, found, self.inspector, FunctionSettings(site="north")))
            return respond(200, body, *headers.items())
        if asked.target == "/hangs":
            self.asked.set()
            self.released.wait(30)
            return b""
        self.tokens.append(token)
        if self.token and token != f"Bearer {self.token}":
            return respond(401)
        reply = Event(
            id=f"reply-{event.id}",
            source="/eaves/north/flowers",
            type=IMAGE_CLASSIFIED,
            datacontenttype="application/json",
            data=b'{"margin": 0.3}',
            extensions={"confidence": "low" if event.id.endswith("1") else "high", "causeid": event.id},
        )
        headers, body = encode_binary(reply)
        return respond(200, body, *headers.items())


@contextmanager
def serving(certificate: Certificate | None = None) -> Iterator[tuple[Function, str]]:
    function = Function()
    with open_server(function.answer, context=build_server_context(certificate) if certificate else None) as server:
        yield function, server.url


@contextmanager
def delivering(folder: Path, **values: Any) -> Iterator[Spool]:
    """An agent's deliverers, and two images in its spool."""
    stop_s, images = values.pop("stop_s", 10.0), values.pop("images", 2)
    settings = settings_from(AgentSettings, values)
    with Spool(folder / "agent.db") as spool, SinkClient() as client:
        for number in range(images):
            spool.put(image(number), lanes=(IMAGES,))
        asked = settings.function_credentials
        function_client = CredentialedClient(asked) if asked else None
        deliverers = build_deliverers(settings, spool, client, {}, function_client)
        for deliverer in deliverers:
            deliverer.start()
        try:
            yield spool
        finally:
            assert all(deliverer.stop(stop_s) for deliverer in deliverers)


def image(number: int) -> Event:
    return Event(
        id=f"id-{number}",
        source="/eaves/north/gate",
        type=IMAGE_CAPTURED,
        datacontenttype="image/jpeg",
        data=b"\xff\xd8\xff" * 100,
    )


def test_a_function_that_hangs_is_not_waited_for_at_the_end(tmp_path: Path):
    with serving() as (function, url):
        with delivering(tmp_path, stop_s=3.0, function=f"{url}/hangs", sink=f"{url}/sink") as spool:
            assert function.asked.wait(10)
            assert spool.depth() == 2
        function.released.set()


@pytest.mark.parametrize(
    ("forward", "along"), [("none", []), ("low", ["id-1"]), ("all", ["id-0", "id-1"])], ids=["none", "low", "all"]
)
def test_images_go_along_with_their_predictions(tmp_path: Path, forward: str, along: list[str]):
    with (
        serving() as (function, url),
        delivering(tmp_path, function=f"{url}/f", sink=f"{url}/sink", forward_images=forward) as spool,
    ):
        wait_until(lambda: spool.depth() == 0)
        assert sorted(one.id for one in function.sunk) == sorted([*along, "reply-id-0", "reply-id-1"])
        assert {one.data for one in function.sunk if one.id in along} <= {image(0).data}


@pytest.mark.parametrize(("forward", "along"), [("none", 0), ("low", 2)])
def test_the_sink_gets_what_the_function_refuses_and_its_image_when_images_are_wanted(
    tmp_path: Path, forward: str, along: int
):
    with (
        serving() as (function, url),
        delivering(tmp_path, function=f"{url}/refuses", sink=f"{url}/sink", forward_images=forward) as spool,
    ):
        wait_until(lambda: spool.depth() == 0 and len(function.sunk) == 2 + along)
        assert [one.type for one in function.sunk].count(IMAGE_CAPTURED) == along
        refused = [one for one in function.sunk if one.type == IMAGE_REJECTED]
        assert sorted(one.extensions["causeid"] for one in refused) == ["id-0", "id-1"]
        assert {one.extensions["causesource"] for one in refused} == {"/eaves/north/gate"}
        problem = json.loads(refused[0].data)
        assert (problem["status"], problem["function"]) == (422, f"{url}/refuses")
        assert "not an image" in problem["detail"]
        assert sorted(letter.entry.event.id for letter in spool.dead()) == ["id-0", "id-1"]


def test_an_image_of_the_audit_sample_goes_along_and_one_that_is_refused_does_not(tmp_path: Path):
    choose = '{"audit_percent": 100, "images_per_hour": 0, "bytes_per_day": 1000}'
    for name, along in (("f", 2), ("refuses", 0)):
        folder = tmp_path / name
        folder.mkdir()
        with (
            serving() as (function, url),
            delivering(folder, function=f"{url}/{name}", sink=f"{url}/sink", choose=choose) as spool,
        ):
            wait_until(lambda spool=spool, function=function, along=along: len(function.sunk) == 2 + along)  # type: ignore[misc]
            chosen = [one for one in function.sunk if one.type == IMAGE_CAPTURED]
            assert [one.data for one in chosen] == [image(0).data] * along
            assert {one.extensions["chosen"] for one in chosen} <= {"audit"}


def test_a_dead_letter_and_what_tells_of_it_are_kept_in_one_commit(tmp_path: Path):
    sink = "http://127.0.0.1:9/"
    with serving() as (_, url), delivering(tmp_path, function=f"{url}/refuses", sink=sink) as spool:
        dead = wait_until(spool.dead)
        assert spool.counts()[REPLIES][0] >= len(dead)


def test_an_image_and_its_prediction_are_kept_in_one_commit(tmp_path: Path):
    with (
        serving() as (_, url),
        delivering(tmp_path, function=f"{url}/f", sink="http://127.0.0.1:9/", forward_images="all") as spool,
    ):
        wait_until(lambda: spool.counts().get("replies") == (4, 0) and "sink" not in spool.counts())


def test_darker_images_are_one_event_behind_their_last_prediction(tmp_path: Path):
    """The light got weaker: no image is anomalous, yet none is as bright as most good images were."""
    artifact = write_inspector(tmp_path / "artifact")
    made = open_predictor(artifact, cast(Session, BrightSession()), ServeSettings(), Handler())
    assert isinstance(made, Inspector)
    dark = [encode_spots(dark=brightness, size=(8, 8)) for brightness in range(20, 40)]
    with serving() as (function, url):
        function.inspector = made
        with delivering(tmp_path, function=f"{url}/inspects", sink=f"{url}/sink", images=0, parallel=4) as spool:
            sent = [
                replace(image(number), data=dark[number % 20], datacontenttype="image/png") for number in range(600)
            ]
            spool.put_many([(one, (IMAGES,)) for one in sent])
            wait_until(lambda: not spool.depth(), 120, what="all predictions")
            (watched,) = spool.score_windows()
    shifts = [one for one in function.sunk if one.type == MODEL_SHIFTED]
    assert [(one.source, one.extensions["causesource"]) for one in shifts] == [
        ("/eaves/north/function", "/eaves/north/gate")
    ]
    assert len(function.sunk) == 601
    assert (watched.counted, watched.source) == (100, "/eaves/north/gate")
    assert watched.since is not None
    assert shifts[0].json()["artifact"] == f"sha256:{artifact.digest}" == watched.artifact


def test_a_function_in_the_cloud_is_asked_with_a_token_that_may_change(tmp_path: Path):
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
            assert {*function.marks, *sink.marks} == {""}, "the cloud's rollout can't ask this agent"


def test_only_a_function_on_the_server_of_the_sink_gets_the_sinks_token(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serving() as (here, url), serving() as (other, elsewhere):
        for number, function in enumerate((f"{url}/f", f"{elsewhere}/f")):
            folder = tmp_path / str(number)
            with delivering(folder, function=function, sink=f"{url}/sink", sink_token=str(token)) as spool:
                wait_until(lambda: spool.depth() == 0)
        assert set(here.tokens) == {"Bearer secret"}
        assert set(other.tokens) == {""}
        assert (sorted(here.marks), other.marks) == ([*[""] * 4, "1", "1"], ["1", "1"]), (
            "a sink is never asked to name a revision"
        )


def test_images_wait_until_the_file_of_the_sinks_token_has_one(tmp_path: Path, caplog: pytest.LogCaptureFixture):
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


def test_a_token_is_never_sent_in_the_clear():
    for values, message in (
        ({"function": "http://flowers.default.svc"}, "function: must begin with https://, unless"),
        ({}, "function_credentials: can be set only together with `function`"),
        (
            {"function": "https://a.b/f", "sink": "http://a.b/", "sink_token": "/token"},
            "sink: must begin with https://",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            settings_from(AgentSettings, {"function_credentials": "/link", **values})
        assert message in caught.value.message

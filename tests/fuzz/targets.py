"""What is fed: the decoder, the event reader, the HTTP parser, and the whole application with a model of colours."""

import base64
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from flask.testing import FlaskClient
from waitress.adjustments import Adjustments

from eaves import events
from eaves.errors import EavesError
from eaves.problem_document import MAX_BYTES
from eaves.recipe import Recipe
from functions.server import FunctionParser
from functions.settings import FunctionSettings, ServeSettings
from tests.fakes.models.artifact import write_colours
from tests.fakes.models.model import FakeModel, build_classifier, create_app
from tests.fuzz.mutations import mutate, text
from tests.inputs import hostile, pictures

MAX_PIXELS = 1_000_000
NAMES = (
    "id",
    "source",
    "type",
    "specversion",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "x",
    "X-y",
    "é",
)
RECIPES = (
    Recipe(height=32, width=32),
    Recipe(height=8, width=24, resize="crop"),
    Recipe(height=16, width=16, resize="pad"),
)
FIELDS = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "a", "datacontenttype": "image/png"}
HTTP = (
    b"POST / HTTP/1.1\r\nHost: f\r\nContent-Type: image/png\r\nContent-Length: 5\r\nce-id: 1\r\n\r\nhello",
    b"POST /a%20b?c=d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n",
    b"GET http://[::1]:80/ HTTP/1.0\r\nConnection: keep-alive\r\nX: a\r\n b\r\n\r\n",
)


class WrongAnswerError(Exception):
    """An answer that is wrong, although nothing was raised."""


class Attempt(NamedTuple):
    """One input.

    Attributes:
        data: What is kept of it when it is a finding.
        run: Feeds it; raises what is wrong with the answer.
    """

    data: bytes
    run: Callable[[], object]


@cache
def files() -> tuple[bytes, ...]:
    """Every kind of picture, and small ones of those that want more than that."""
    made = [make().data for make in pictures.CASES.values()]
    made += [make() for group in (hostile.CORRUPT, hostile.TOO_LARGE, hostile.HARMLESS) for make in group.values()]
    return tuple(data for data in made if len(data) < 100_000)


def damaged_file(chance: random.Random) -> bytes:
    return mutate(chance.choice(files()), files(), chance)


def image(chance: random.Random) -> Attempt:
    data, recipe = damaged_file(chance), chance.choice(RECIPES)

    def run() -> None:
        if recipe.tensor(data, max_pixels=MAX_PIXELS).shape != (recipe.height, recipe.width, 3):
            raise WrongAnswerError("another shape")

    return Attempt(data, _refusing(run))


def event(chance: random.Random) -> Attempt:
    headers, body = _message(chance)

    def run() -> None:
        read = events.decode(headers, body)
        if events.decode(*events.encode_binary(read)) != read:
            raise WrongAnswerError("not the same event once it was written")
        events.encode_structured(read)

    return Attempt(json.dumps([headers, body.decode("latin-1")]).encode(), _refusing(run))


def http(chance: random.Random) -> Attempt:
    data = mutate(chance.choice(HTTP), HTTP, chance)

    def run() -> None:
        parser, left = FunctionParser(Adjustments()), data
        while left and not parser.completed:
            left = left[parser.received(left[: chance.choice((1, 10, 8192))]) :]

    return Attempt(data, run)


def app(client: FlaskClient) -> Callable[[random.Random], Attempt]:
    def make(chance: random.Random) -> Attempt:
        headers, body = _message(chance)
        sent = {name: value for name, value in headers.items() if _fits_http(name + value)}
        path = "/" if chance.random() < 0.9 else "/" + text(chance).encode(errors="replace").decode("latin-1")

        def run() -> None:
            response = client.post(path, data=body, headers=sent)
            if response.status_code >= 500:
                raise WrongAnswerError(f"{response.status_code}: {response.text}")
            if response.status_code >= 400 and len(response.data) > MAX_BYTES:
                raise WrongAnswerError("a long problem document")
            if any(not _fits_http(name + value) for name, value in response.headers.items()):
                raise WrongAnswerError("a header that is none")

        return Attempt(json.dumps([path, sent, body.decode("latin-1")]).encode(), run)

    return make


def build_makers(folder: Path) -> tuple[Callable[[random.Random], Attempt], ...]:
    """Makers of inputs for every target; the application's artifact is written into a folder."""
    model = FakeModel(build_classifier(write_colours(folder / "artifact"), ServeSettings(max_pixels=MAX_PIXELS)))
    client = create_app(model, FunctionSettings(), concurrency=1).test_client()
    return (*[image] * 7, event, app(client), http)


def _fits_http(value: str) -> bool:
    return value.isprintable() and all(ord(character) < 256 for character in value)


def _refusing(run: Callable[[], object]) -> Callable[[], object]:
    def attempt() -> None:
        try:
            run()
        except EavesError as error:
            if not 400 <= error.http_status < 500:
                raise

    return attempt


def _message(chance: random.Random) -> tuple[dict[str, str], bytes]:
    """Headers and body: binary, structured or neither, mostly with a picture, and damaged."""
    data = damaged_file(chance) if chance.random() < 0.3 else chance.choice(files()[:20])
    fields: dict[str, Any] = {**FIELDS}
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        name = chance.choice(NAMES) if chance.random() < 0.9 else text(chance)
        fields[name] = text(chance) if chance.random() < 0.8 else chance.choice((None, 7, -1.5, True, [], {}, 10**30))
    if chance.random() < 0.5:
        content_type = text(chance) if chance.random() < 0.1 else "image/png"
        binary = {f"ce-{name}": str(value) for name, value in fields.items()}
        return {**binary, "content-type": content_type}, data
    if chance.random() < 0.8:
        fields["data_base64"] = base64.b64encode(data).decode()
    body = json.dumps(fields).encode()
    suffix = text(chance) if chance.random() < 0.1 else "+json"
    headers = {"content-type": f"application/cloudevents{suffix}"}
    return headers, mutate(body, (body, b'{"a":[1e9,"\\ud800"]}'), chance) if chance.random() < 0.5 else body

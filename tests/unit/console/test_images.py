"""Routes of images: what an image may be sent as, and that an address never shows another image."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from eaves.console.guard import FILE_POLICY
from eaves.console.pages.event_row import build_picture_key
from eaves.console.pages.images import build_image_url, build_thumbnail_url
from eaves.console.thumbnails import digest_of
from tests.fakes.console.backend import FakeBackend
from tests.fakes.console.material import Flow, build_flow


class Pages:
    """The app over a backend with three images."""

    def __init__(self) -> None:
        self.backend, self.flow = FakeBackend(), build_flow(3)
        self.flow.put_into(self.backend)
        self.app = create_app(ConsoleContext(backend=self.backend))
        self.client: FlaskClient = self.app.test_client()

    def url(self, place: int, build: Callable[..., str] = build_thumbnail_url) -> str:
        with self.app.test_request_context():
            return build(build_picture_key(self.flow.records[place]))


@pytest.fixture
def pages() -> Pages:
    return Pages()


def images(flow: Flow) -> list[bytes]:
    return list(flow.images.values())


def test_a_thumbnail_is_sent_for_a_capture_and_for_its_prediction(pages: Pages):
    for place in (2, 3):
        response = pages.client.get(pages.url(place))
        assert (response.status_code, response.data) == (200, images(pages.flow)[1])
        assert response.headers["Content-Type"] == "image/jpeg"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"] == FILE_POLICY
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "private, max-age=31536000, immutable"


def test_an_address_of_a_replaced_history_shows_no_other_image(pages: Pages):
    before, full = pages.url(0), pages.url(0, build_image_url)
    gone = pages.flow.records[0]
    pages.backend.records.kept[0] = replace(pages.flow.records[2], seq=1)
    assert pages.client.get(before).data == images(pages.flow)[0]  # it is kept by its digest
    del pages.backend.images.thumbnails[gone.identity]
    for address in (before, full):
        response = pages.client.get(address)
        assert response.status_code == 404
        assert response.headers["Cache-Control"] == "no-store"


def test_the_image_itself_is_sent_while_it_is_held(pages: Pages):
    address = pages.url(1, build_image_url)
    response = pages.client.get(address)
    assert (response.data, response.headers["Content-Type"]) == (images(pages.flow)[0], "image/jpeg")
    assert response.headers["Content-Security-Policy"] == FILE_POLICY
    pages.backend.images.images.clear()
    gone = pages.client.get(address)
    assert gone.status_code == 404
    assert "holds only the newest images" in gone.text


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"",
    ],
)
def test_nothing_that_could_execute_is_sent(pages: Pages, data: bytes):
    pages.backend.images.images[pages.flow.records[0].identity] = data
    response = pages.client.get(pages.url(0, build_image_url))
    assert response.status_code == 415
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert data == b"" or data not in response.data
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "key",
    ["-1-{digest}", "99999999999999999999-{other}", "../{digest}"],
)
def test_other_addresses_are_not_found(pages: Pages, key: str):
    digest = digest_of(*pages.flow.records[0].identity)
    for end in ("thumbnail.jpg", "full"):
        address = f"/images/{key.format(digest=digest, other='0' * 32)}/{end}"
        assert pages.client.get(address).status_code == 404

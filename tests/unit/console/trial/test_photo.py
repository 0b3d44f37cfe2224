"""The event of a photo that a person tries."""

from __future__ import annotations

import pytest

from eaves.console.pages.try_it import build_photo_event, clean_name
from eaves.events import decode, encode_binary
from tests.fakes.models.artifact import encode_png


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("rose.jpg", "rose.jpg"),
        ("C:\\fakepath\\../rose.jpg", "rose.jpg"),
        ("a\r\nX-Evil: 1.jpg", "aX-Evil: 1.jpg"),
        ("..", "photo"),
        ("Blüte 3.jpg", "Blüte 3.jpg"),
    ],
)
def test_a_name_has_no_folders_and_only_printable_characters(name: str, clean: str) -> None:
    assert clean_name(name) == clean


def test_the_event_can_be_sent_and_has_a_new_id_each_time() -> None:
    data = encode_png((1, 2, 3))
    first, second = (build_photo_event(data, clean_name("Blüte 3.png"), "mill") for _ in range(2))
    assert first.id != second.id
    assert (first.source, first.subject, first.datacontenttype) == ("/eaves/mill/console", "Blüte 3.png", "image/png")
    assert build_photo_event(b"no photo", "a", "mill").datacontenttype == "image/*"
    headers, body = encode_binary(first)
    assert decode(headers, body) == first

"""Events as one request."""

from __future__ import annotations

import gzip

import pytest

from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, decode
from eaves.link import decode_batch
from eaves.link.batch import BINARY_FROM, MEDIA_TYPE, pack

PREDICTION = Event(id="1", source="/eaves/north/f", type=IMAGE_CLASSIFIED, data=b'{"a": 1}', subject="ümlaut.jpg")
IMAGE = Event(
    id="2",
    source="/eaves/north/gate",
    type=IMAGE_CAPTURED,
    datacontenttype="image/jpeg",
    data=bytes(range(256)) * 64,
    subject="hall/ümlaut 1.jpg",
)


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_a_batch_is_json_in_gzip(count: int) -> None:
    events = [PREDICTION, IMAGE] * count
    packed = pack(events)
    assert packed.headers == {"Content-Type": MEDIA_TYPE, "Content-Encoding": "gzip"}
    assert packed.events == len(events)
    assert decode_batch(gzip.decompress(packed.body)) == events


def test_a_large_picture_alone_goes_as_it_is() -> None:
    packed = pack([IMAGE])
    assert packed.body is IMAGE.data
    assert decode(packed.headers, packed.body) == IMAGE
    assert len(IMAGE.data) == BINARY_FROM


@pytest.mark.parametrize(
    "event",
    [
        Event(id="1", source="s", type="t", data=b"x" * 100, datacontenttype="image/jpeg"),
        Event(id="1", source="s", type="t", data=b"[" + b"1," * BINARY_FROM + b"1]"),
        IMAGE.with_extensions(**{f"name{number}": "x" for number in range(60)}),
        IMAGE.with_extensions(long="x" * 4_000),
    ],
    ids=["small", "json", "many headers", "long headers"],
)
def test_what_suits_no_header_or_compresses_well_goes_as_a_batch(event: Event) -> None:
    packed = pack([event])
    assert packed.headers["Content-Type"] == MEDIA_TYPE
    assert decode_batch(gzip.decompress(packed.body)) == [event]

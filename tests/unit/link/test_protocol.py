"""Events come through a batch with the same bytes."""

import gzip
import json
import tracemalloc
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.base.strict_json import MAX_JSON_VALUES
from eaves.errors import DeliveryError, EventError
from eaves.event_batch import MEDIA_TYPE, decode_batch, encode_batch
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, Event, decode
from eaves.link.protocol import BINARY_FROM, BatchAnswer, RefusedEvent, pack, parse_batch_answer


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.sampled_from([None, "application/json", "image/jpeg"])), max_size=5)
)
def test_data_are_the_same_bytes_afterwards(payloads: list[tuple[bytes, str | None]]):
    events = [
        Event(id=str(number), source="/eaves/barn/gate", type="t", data=data, datacontenttype=kind)
        for number, (data, kind) in enumerate(payloads)
    ]
    assert decode_batch(b"".join(encode_batch(events))) == events


@pytest.mark.parametrize("body", [b"{", b"{}", b"[" * 100_000])
def test_what_is_no_batch_is_refused(body: bytes):
    with pytest.raises(EventError):
        decode_batch(body)


def test_a_text_that_takes_many_times_its_size_in_memory_is_refused_before_it_is_parsed():
    body = b'[{"data": [%s]}]' % b",".join([b"{}"] * (MAX_JSON_VALUES + 1))
    tracemalloc.start()
    try:
        with pytest.raises(EventError, match="values"):
            decode_batch(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 1}',
        b"null",
        '"Gänseblümchen"'.encode(),
        b"[" * 5_000 + b"]" * 5_000,
        b"[" + b"1, " * (MAX_JSON_VALUES + 1) + b"1]",
    ],
)
def test_data_that_would_come_back_as_other_bytes_stand_in_it_as_base64(data: bytes):
    event = Event(id="1", source="/eaves/north/gate", type="t", data=data, datacontenttype="application/json")
    body = b"".join(encode_batch([event]))
    assert b'"data_base64": "' in body
    assert decode_batch(body) == [event]


# As one request

PREDICTION = Event(id="1", source="/eaves/north/f", type=IMAGE_CLASSIFIED, data=b'{"a": 1}', subject="ümlaut.jpg")
IMAGE = Event(
    id="2",
    source="/eaves/north/gate",
    type=IMAGE_CAPTURED,
    datacontenttype="image/jpeg",
    data=bytes(range(256)) * 64,
    subject="hall/ümlaut 1.jpg",
)


@pytest.mark.parametrize("count", [0, 500])
def test_a_batch_is_json_in_gzip(count: int):
    events = [PREDICTION, IMAGE] * count
    packed = pack(events)
    assert packed.headers == {"Content-Type": MEDIA_TYPE, "Content-Encoding": "gzip"}
    assert packed.events == len(events)
    assert decode_batch(gzip.decompress(packed.body)) == events


def test_a_large_picture_alone_goes_as_it_is():
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
    ],
    ids=["small", "json", "many headers"],
)
def test_what_suits_no_header_or_compresses_well_goes_as_a_batch(event: Event):
    packed = pack([event])
    assert packed.headers["Content-Type"] == MEDIA_TYPE
    assert decode_batch(gzip.decompress(packed.body)) == [event]


# An answer counts only when it accounts for every event that was sent

ANSWER = BatchAnswer(stored=2, repeated=1, refused=(RefusedEvent(index=3, status=403, detail="of another site"),))
TEXT = json.dumps(asdict(ANSWER)).encode()


@pytest.mark.parametrize("sent", [0, 3, 5])
def test_an_answer_to_another_batch_is_refused(sent: int):
    with pytest.raises(DeliveryError):
        parse_batch_answer(TEXT, sent)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in</html>",
        b"null",
        b'{"stored": -1, "repeated": 2, "refused": []}',
        b'{"stored": 0, "repeated": 0, "refused": [{"index": 1, "status": 400, "detail": ""}]}',
        b'{"stored": 0, "repeated": 0, "refused": [0, 0]}',
        b'{"stored": 0, "repeated": 0, "refused": [], "stored": 1}',
        b'{"stored": 1e999, "repeated": 0, "refused": []}',
        b'{"stored": true, "repeated": 0, "refused": []}',
        b'{"stored": "1", "repeated": 0, "refused": []}',
    ],
)
def test_what_is_no_answer_of_a_receiver_releases_nothing(body: bytes):
    with pytest.raises(DeliveryError, match="can't be used"):
        parse_batch_answer(body, 1)

"""Events come through a batch with the same bytes."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.base.strict_json import MAX_JSON_VALUES
from eaves.errors import EventError, ImageTooLargeError
from eaves.events import Event
from eaves.link import decode_batch, encode_batch
from eaves.link.batch import MAX_EVENTS, MAX_VALUES


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.sampled_from([None, "application/json", "image/jpeg"])), max_size=5)
)
def test_data_are_the_same_bytes_afterwards(payloads: list[tuple[bytes, str | None]]) -> None:
    events = [
        Event(id=str(number), source="/eaves/barn/gate", type="t", data=data, datacontenttype=kind)
        for number, (data, kind) in enumerate(payloads)
    ]
    assert decode_batch(encode_batch(events)) == events


def test_one_bad_event_spoils_no_other() -> None:
    good = Event(id="1", source="/s", type="t")
    fields = json.loads(encode_batch([good]))
    found = decode_batch(json.dumps([*fields, {"id": "2"}, 3]).encode())
    assert found[0] == good
    assert [str(fault) for fault in found[1:]] == [
        "missing required attribute(s): source, specversion, type",
        "a structured CloudEvent must be a JSON object, not a int",
    ]


@pytest.mark.parametrize("body", [b"{", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(EventError):
        decode_batch(body)


def test_a_batch_has_a_bounded_number_of_events() -> None:
    assert len(decode_batch(b"[%s]" % b",".join([b"0"] * MAX_EVENTS))) == MAX_EVENTS
    with pytest.raises(ImageTooLargeError, match=str(MAX_EVENTS)):
        decode_batch(b"[%s]" % b",".join([b"0"] * (MAX_EVENTS + 1)))


@pytest.mark.parametrize("value", [b"0", b"[]", b"{}"])
def test_a_text_that_takes_many_times_its_size_in_memory_is_refused_before_it_is_parsed(value: bytes) -> None:
    body = b'[{"data": [%s]}]' % b",".join([value] * (MAX_VALUES + 1))
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLargeError, match="values"):
            decode_batch(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_what_is_wrong_with_an_event_holds_no_stack() -> None:
    (error,) = decode_batch(b"[0]")
    assert isinstance(error, EventError)
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 1}',
        b"[1,2]",
        b"null",
        '"Gänseblümchen"'.encode(),
        b"[" * 5_000 + b"]" * 5_000,
        b"[" + b"1, " * (MAX_JSON_VALUES + 1) + b"1]",
    ],
)
def test_data_that_would_come_back_as_other_bytes_stand_in_it_as_base64(data: bytes) -> None:
    event = Event(id="1", source="/eaves/north/gate", type="t", data=data, datacontenttype="application/json")
    body = encode_batch([event])
    assert b'"data_base64": "' in body
    assert decode_batch(body) == [event]

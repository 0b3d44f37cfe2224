"""CloudEvents on the wire: round trips, every kind of bad input, identities."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eaves.errors import EventError, UnsupportedContentError
from eaves.events import (
    Event,
    decode,
    encode_binary,
    encode_structured,
    event_id,
    reply_id,
)

HEADERS = {
    "Content-Type": "image/jpeg",
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/eaves/here/camera",
    "ce-type": "dev.eaves.image.captured.v1",
}
FIELDS = {"specversion": "1.0", "id": "1", "source": "/eaves/here/camera", "type": "dev.eaves.image.captured.v1"}
STRUCTURED_JSON = {"content-type": "application/cloudevents+json; charset=utf-8"}

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
TIMES = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
RESERVED = {"id", "source", "type", "specversion", "datacontenttype", "dataschema", "subject", "time", "data"}
NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(lambda name: name not in RESERVED)


def events(data: st.SearchStrategy[bytes], content_type: st.SearchStrategy[str | None]) -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        id=TEXT,
        source=TEXT,
        type=TEXT,
        data=data,
        datacontenttype=content_type,
        subject=st.none() | TEXT,
        time=st.none() | TIMES,
        dataschema=st.none() | st.just("https://example.org/schema"),
        extensions=st.dictionaries(NAMES, TEXT, max_size=4),
    )


def structured(**changes: Any) -> bytes:
    return json.dumps({**FIELDS, **changes}).encode()


@given(events(st.binary(max_size=64), st.sampled_from(["image/jpeg", "application/json", "text/plain"])))
@example(Event(id='"%20é 😀', source="/a b", type="t", subject="Straße/100 %.jpg", extensions={"label": "grün"}))
def test_binary_mode_brings_back_what_was_sent(event: Event):
    assert decode(*encode_binary(event)) == event


@given(events(st.binary(max_size=64), st.sampled_from(["image/jpeg", "application/octet-stream"])))
def test_structured_mode_brings_back_what_was_sent(event: Event):
    assert decode(*encode_structured(event)) == event


@pytest.mark.parametrize("data", [b"\x89PNG", b"{", b"NaN", b"1e999", b'"\\ud800"', b"[" * 10_000])
def test_structured_mode_carries_data_that_is_not_json_after_all(data: bytes):
    """A content type is only a claim; what was accepted in binary mode must be sendable in structured mode."""
    event = Event(id="1", source="/s", type="t", data=data, datacontenttype="application/json")
    headers, body = encode_structured(event)
    json.loads(body, parse_constant=pytest.fail)
    assert decode(headers, body).data == data


def test_a_header_value_in_double_quotes_is_unquoted_before_percent_decoding():
    """HTTP binding 1.0.2, section 3.1.3.2."""
    assert decode({**HEADERS, "ce-subject": r'"a \"b\" 100%25"'}, b"").subject == 'a "b" 100%'


def test_the_body_of_structured_json_becomes_bytes():
    picture = base64.b64encode(b"\xff\xd8").decode()
    assert decode(STRUCTURED_JSON, structured(data_base64=picture, datacontenttype="image/jpeg")).data == b"\xff\xd8"
    assert decode(STRUCTURED_JSON, structured(data={"a": [1]})).json() == {"a": [1]}
    assert decode(STRUCTURED_JSON, structured(data="text")).json() == "text"
    assert decode(STRUCTURED_JSON, structured(data="grün", datacontenttype="text/plain")).data == "grün".encode()
    assert decode(STRUCTURED_JSON, structured(data=None)).data == b""


def test_integers_and_booleans_become_canonical_text():
    event = decode(STRUCTURED_JSON, structured(sequence=7, final=True, unset=None))
    assert event.extensions == {"sequence": "7", "final": "true"}


def test_no_id_and_no_time_is_invented():
    with pytest.raises(EventError, match="id"):
        decode({name: value for name, value in HEADERS.items() if name != "ce-id"}, b"")
    assert decode(HEADERS, b"").time is None
    assert "ce-time" not in encode_binary(decode(HEADERS, b""))[0]


@pytest.mark.parametrize("name", ["id", "source", "specversion", "type"])
@pytest.mark.parametrize("mode", ["binary", "structured", "empty"])
def test_a_missing_required_attribute_is_named(name: str, mode: str):
    headers, body = {key: value for key, value in HEADERS.items() if key != f"ce-{name}"}, b""
    if mode == "structured":
        headers, body = STRUCTURED_JSON, json.dumps({key: FIELDS[key] for key in FIELDS if key != name}).encode()
    elif mode == "empty":
        headers[f"ce-{name}"] = ""
    with pytest.raises(EventError, match=rf"missing required attribute\(s\): {name}$") as caught:
        decode(headers, body)
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/cloudevents-batch+json", 415),
        ("Application/CloudEvents-Batch+JSON; charset=utf-8", 415),
        ("application/cloudevents+avro", 415),
        ("application/cloudevents+json", 400),
    ],
)
def test_content_modes_that_are_not_taken(content_type: str, status: int):
    with pytest.raises(EventError) as caught:
        decode({"content-type": content_type}, b"[]")
    assert caught.value.http_status == status
    assert isinstance(caught.value, UnsupportedContentError) == (status == 415)


BAD_HEADERS: dict[str, tuple[dict[str, str], str]] = {
    "old version": ({"ce-specversion": "0.3"}, "specversion must be 1.0"),
    "percent-encoding that is not UTF-8": ({"ce-subject": "%ff"}, "not UTF-8"),
    "time that is none": ({"ce-time": "yesterday"}, "time must be an RFC 3339 timestamp"),
    "time after the calendar": ({"ce-time": "9999-12-31T24:00:00Z"}, "time"),
    "control character": ({"ce-subject": "a%0D%0AX-Injected: 1"}, "control character"),
    "C1 control character": ({"ce-id": "a%C2%85"}, "control character"),
    "name with a dash": ({"ce-my-name": "x"}, "must consist of a-z and 0-9"),
    "name beyond ASCII": ({"ce-größe": "x"}, "must consist of a-z and 0-9"),
    "reserved name": ({"ce-data": "x"}, "data"),
    "empty subject": ({"ce-subject": ""}, "subject"),
}


def test_a_bad_header_is_refused_and_named():
    for changes, message in BAD_HEADERS.values():
        with pytest.raises(EventError, match=message):
            decode({**HEADERS, **changes}, b"x")


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "not JSON": (b"{", "not JSON"),
    "too deep": (b"[" * 100_000, "not JSON"),
    "a number too long": (b'{"id": ' + b"1" * 5000 + b"}", "not JSON"),
    "a list": (b"[]", "not a list"),
    "data twice": (structured(data=1, data_base64=""), "both data and data_base64"),
    "base64 that is none": (structured(data_base64="%%"), "not base64"),
    "old version": (structured(specversion="0.3"), "specversion"),
    "upper-case name": (structured(sequenceNumber="1"), "must consist of a-z"),
    "an object as attribute": (structured(partitionkey={}), "must be a string, integer or boolean"),
    "a number as id": (structured(id=7), "id must be a string"),
    "control character": (structured(subject="a\nb"), "control character"),
    "half a character": (structured(subject="\ud800"), "an unpaired surrogate"),
    "time that is none": (structured(time="yesterday"), "time must be an RFC 3339 timestamp"),
    "a number too large": (structured(data=0).replace(b"0}", b"1e999}"), "not JSON"),
    "NaN": (structured(data=float("nan")), "not JSON"),
    "empty subject": (structured(subject=""), "subject"),
    "line break in the content type": (structured(datacontenttype="image/png\r\nX: 1"), "control character"),
}


def test_a_bad_structured_event_is_refused_and_named():
    for body, message in BAD_BODIES.values():
        with pytest.raises(EventError, match=message) as caught:
            decode(STRUCTURED_JSON, body)
        assert len(caught.value.message) < 600


def test_ids_follow_from_what_they_name():
    assert event_id("/eaves/here/inbox", "a.jpg:1:2")[:12] == "92a001fa19bd"
    assert event_id("/eaves/here/inbox", "a.jpg:1:2") != event_id("/eaves/here/inbox", "a.jpg:1:3")
    assert event_id("/a", "b") != event_id("/", "ab")
    assert len(event_id("/eaves/here/inbox", "\udcff.jpg")) == 32
    assert event_id("/eaves/here/inbox", "\udcff.jpg") != event_id("/eaves/here/inbox", "\udcfe.jpg")


def test_a_reply_id_depends_on_cause_and_artifact_alone():
    cause = Event(id="1", source="/s", type="t", data=b"x", subject="a", time="2026-11-24T12:00:00Z")
    again = Event(id="1", source="/s", type="other")
    assert reply_id(cause, "d") == reply_id(again, "d")
    assert reply_id(cause, "d") != reply_id(cause, "e")
    assert reply_id(cause, "d") != reply_id(Event(id="2", source="/s", type="t"), "d")
    assert reply_id(cause, "d") != reply_id(Event(id="1", source="/r", type="t"), "d")


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-24T12:00:00Z",
        "2026-11-24t12:00:00z",
        "2026-11-24T12:00:00.123456789Z",
        "2026-11-24T13:00:00+01:00",
        "2016-12-31T23:59:60Z",
    ],
)
def test_times_leave_as_they_came_in_both_modes(time: str):
    for event in (decode({**HEADERS, "ce-time": time}, b""), decode(STRUCTURED_JSON, structured(time=time))):
        headers, _ = encode_binary(event)
        _, body = encode_structured(event)
        assert (event.time, headers["ce-time"], json.loads(body)["time"]) == (time, time, time)

"""What a CloudEvent may not hold, however well-formed: what no receiver of the reply could take."""

import json
import tracemalloc
from typing import Any
from urllib.parse import quote

import pytest

from eaves.base.strict_json import MAX_JSON_VALUES, WIDE_FROM, parse_json
from eaves.errors import EventError
from eaves.events import MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES, decode

HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
STRUCTURED_JSON = {"content-type": "application/cloudevents+json"}


def structured(**changes: Any) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **changes}).encode()


def test_attributes_have_limits():
    """What comes back in a reply's header must fit into one that HTTP clients take."""
    longest = "€" * (MAX_ATTRIBUTE_BYTES // 3)
    assert decode({**HEADERS, "ce-id": quote(longest)}, b"").id == longest
    assert decode(STRUCTURED_JSON, structured(id=longest)).id == longest
    many = {f"x{number}": "1" for number in range(MAX_ATTRIBUTES)}
    for changes, message in (
        ({"id": longest + "€"}, "attribute id has more than 4096 bytes"),
        (many, "at most 100"),
    ):
        with pytest.raises(EventError, match=message):
            decode(STRUCTURED_JSON, structured(**changes))
    with pytest.raises(EventError, match="more than 64 characters"):
        decode({**HEADERS, "ce-" + "x" * 65: "1"}, b"")


def test_json_of_too_many_values_is_not_parsed():
    assert parse_json(b"[" + b"1," * (MAX_JSON_VALUES - 1) + b"1]")[-1] == 1
    assert parse_json(b'"' + b"x" * 1_000_000 + b'"')
    with pytest.raises(ValueError, match="more than 250000 values"):
        parse_json(b"[" + b"[]," * MAX_JSON_VALUES + b"[]]")


@pytest.mark.parametrize("text", ["grün", "Küche.png", "日本.png", "100% Gänseblümchen", "🌼"])
def test_utf_8_in_a_header_is_taken_as_it_is(text: str):
    """What Knative's broker and the SDKs for Go, Java and JavaScript send; HTTP libraries show it as Latin-1."""
    assert decode({**HEADERS, "ce-subject": text.encode().decode("latin-1")}, b"").subject == text


@pytest.mark.parametrize("value", ["gr\xfcn", "\xff\xfe", "%FF"])
def test_other_bytes_beyond_ascii_in_a_header_are_refused(value: str):
    with pytest.raises(EventError, match="not UTF-8") as caught:
        decode({**HEADERS, "ce-subject": value}, b"")
    assert caught.value.hint == "encode the text as UTF-8, then percent-encode it"


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 10**40])
def test_integers_have_32_bits(value: int):
    with pytest.raises(EventError, match=r"attribute level must be from -2147483648 to 2147483647 \(got"):
        decode(STRUCTURED_JSON, structured(level=value))


def test_a_text_whose_size_is_bounded_elsewhere_has_no_other_bound():
    assert len(parse_json(b"[" + b"1," * MAX_JSON_VALUES + b"1]", max_values=None)) == MAX_JSON_VALUES + 1
    label = "日" * 400_000
    assert parse_json(f'"{label}"', max_values=None) == label
    with pytest.raises(ValueError, match="more than 3 values"):
        parse_json("[1, 2, 3, 4]", max_values=3)
    for text in ("NaN", "[" * 100_000, '{"a": 1, "a": 2}', '"\ud800'):
        with pytest.raises(ValueError, match=r"not a number|nested|duplicate|surrogates|Unterminated"):
            parse_json(text, max_values=None)


LARGE = " " * WIDE_FROM


@pytest.mark.parametrize("text", ["é", "\\\\é", "日本", "😀", '\\"é\\u00e9', "\x7f\x80"])
def test_large_json_is_read_as_small_one(text: str):
    small = f'{{"{text}": ["{text}", "a{text}b"]}}'.encode()
    assert parse_json(small + LARGE.encode()) == parse_json(small)


REFUSED = {
    "an escape of a letter": (
        '"\\é"'.encode(),
        "invalid escape: a backslash before a character that has no escape in JSON",
    ),
    "half a letter": (b'"\xc3"', "can't decode byte 0xc3"),
    "more letters than escapes are worth": (
        ('"' + "é" * 600_000 + '"').encode(),
        "more than 1000000 bytes of characters beyond ASCII",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_large_json_is_refused_as_small_one(text: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        parse_json(text + LARGE.encode())


def test_one_wide_letter_does_not_widen_all_others():
    text = json.dumps({"a": "x" * 2_000_000, "b": "😀"}, ensure_ascii=False).encode()
    tracemalloc.start()
    assert parse_json(text)["b"] == "😀"
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 7_000_000

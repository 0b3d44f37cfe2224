"""Requests in chunks, as Go's HTTP client sends what it doesn't know the length of."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.errors import EventError, ImageTooLargeError
from eaves.publisher.receiver import read_chunks

pytestmark = pytest.mark.filterwarnings("error")


def take(size: int) -> None:
    """Take memory, of which there is enough."""


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_chunks_are_one_body_again(chunks: list[bytes]) -> None:
    assert read_chunks(io.BytesIO(chunked(*chunks)), 10_000, take) == b"".join(chunks)


def test_extensions_and_trailers_are_passed_over() -> None:
    assert read_chunks(io.BytesIO(b"3;a=b\r\nabc\r\n0\r\nX-Y: z\r\n\r\n"), 10, take) == b"abc"


@pytest.mark.parametrize(
    "body",
    [b"", b"\r\n", b"x\r\n", b"-1\r\n", b"3\r\nab", b"3\r\nabcd\r\n0\r\n\r\n", b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n"],
)
def test_what_is_not_well_formed_is_refused(body: bytes) -> None:
    with pytest.raises(EventError):
        read_chunks(io.BytesIO(body), 10, take)


@pytest.mark.parametrize("body", [chunked(b"abc", b"defg"), b"ffffffffffff\r\n"])
def test_what_is_too_large_is_refused_before_it_is_read(body: bytes) -> None:
    with pytest.raises(ImageTooLargeError, match="more than 6 bytes"):
        read_chunks(io.BytesIO(body), 6, take)

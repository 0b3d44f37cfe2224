"""Bodies: in chunks, as Go's HTTP client sends what it doesn't know the length of, and packed by gzip."""

from __future__ import annotations

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.errors import ImageTooLargeError, MalformedRequestError
from eaves.ingress.request import CHUNKED, read_body


def take(size: int) -> None:
    """Take memory, of which there is enough."""


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def read_chunks(body: bytes, max_bytes: int) -> bytes:
    return read_body(io.BytesIO(body), CHUNKED, max_bytes=max_bytes, take=take)


def unpack(packed: bytes, max_bytes: int = 10_000_000) -> bytes:
    return read_body(io.BytesIO(packed), len(packed), max_bytes=max_bytes, take=take, gzipped=True)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_chunks_are_one_body_again(chunks: list[bytes]) -> None:
    assert read_chunks(chunked(*chunks), 10_000) == b"".join(chunks)


def test_extensions_and_trailers_are_passed_over() -> None:
    assert read_chunks(b"3;a=b\r\nabc\r\n0\r\nX-Y: z\r\n\r\n", 10) == b"abc"


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"3\r\nab",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
        ),
        *(b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n", b"0\r\n"),
    ],
)
def test_what_is_not_well_formed_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        read_chunks(body, 10)


@pytest.mark.parametrize("body", [chunked(b"abc", b"defg"), b"ffffffffffff\r\n"])
def test_what_is_too_large_is_refused_before_it_is_read(body: bytes) -> None:
    with pytest.raises(ImageTooLargeError, match="more than 6 bytes"):
        read_chunks(body, 6)


@given(st.binary(max_size=2_000), st.integers(1, 200))
def test_gzip_is_unpacked(data: bytes, times: int) -> None:
    assert unpack(gzip.compress(data * times)) == data * times


def fixed_gzip(data: bytes) -> bytes:
    """Gzip without the time: a test is named after its parameters, and each worker must name it alike."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    "packed",
    [
        *(b"hello", b"", fixed_gzip(b"a" * 100)[:-1], fixed_gzip(b"a" * 100)[:-9], zlib.compress(b"a")),
        *(fixed_gzip(b"a") + b"b", fixed_gzip(b"a") * 2, fixed_gzip(b"abc")[:-8] + b"\0" * 8),
    ],
)
def test_what_is_no_gzip_is_refused(packed: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        unpack(packed)


def test_a_bomb_takes_no_more_memory_than_a_body_may() -> None:
    packed = gzip.compress(b"\0" * 50_000_000)
    taken: list[int] = []
    with pytest.raises(ImageTooLargeError, match="more than 1000000 bytes"):
        read_body(io.BytesIO(packed), len(packed), max_bytes=1_000_000, take=taken.append, gzipped=True)
    assert sum(taken) <= 1_000_000

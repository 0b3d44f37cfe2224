"""HTTP heads that two readers could understand differently."""

from __future__ import annotations

import pytest
from waitress.adjustments import Adjustments

from functions.http.request_parser import MAX_CHUNK_LINE, Parser

GOOD = [b"POST / HTTP/1.1", b"Host: f", b"ce-id: 1", b"Content-Length: 5"]
CHUNKED = [b"POST / HTTP/1.1", b"Host: f", b"Transfer-Encoding: chunked"]


def parse(*lines: bytes, body: bytes = b"") -> Parser:
    parser, data = Parser(Adjustments()), b"\r\n".join([*lines, b"", b""]) + body
    while data and not parser.completed:
        data = data[parser.received(data[:8192]) :]
    return parser


def test_a_good_request_is_read() -> None:
    parser = parse(*GOOD, body=b"hello")
    assert (parser.error, parser.completed) == (None, True)
    assert parser.headers["CE_ID"] == "1"
    assert parser.get_body_stream().read() == b"hello"


def test_chunks_are_put_together() -> None:
    parser = parse(*CHUNKED, body=b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: x\r\n\r\n")
    assert (parser.error, parser.completed) == (None, True)
    assert parser.get_body_stream().read() == b"hello"


def test_what_may_be_there_twice_may() -> None:
    assert parse(*GOOD, b"Accept: a", b"Accept: b", body=b"hello").headers["ACCEPT"] == "a, b"


@pytest.mark.parametrize(
    "lines",
    [
        [*GOOD, b"Ce-Id: 1"],
        [*GOOD, b"ce-x: 1", b"CE-X : 2"],
        [*GOOD, b"Content-Type: image/png", b"content-type: image/png"],
        [*GOOD, b"content-length: 5"],
        [*GOOD, b"Host: g"],
        [*GOOD, b"Transfer-Encoding: chunked"],
        [*CHUNKED, b"Transfer-Encoding: chunked"],
        [b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"],
        [b"POST / HTTP/1.1", b"Content-Length: " + b"1" * 5000],
        [b"GET http://[::1 HTTP/1.1"],
        [b"GET /"],
        [b"PRI * HTTP/2.0"],
    ],
    ids=lambda lines: lines[-1][:40].decode(),
)
def test_what_could_be_read_in_two_ways_is_refused(lines: list[bytes]) -> None:
    parser = parse(*lines, body=b"0\r\n\r\n")
    assert parser.error is not None
    assert parser.error.code == 400
    assert parser.completed


@pytest.mark.parametrize("body", [b"1;" + b"x" * MAX_CHUNK_LINE, b"0\r\nX: " + b"x" * MAX_CHUNK_LINE])
def test_the_head_of_a_chunk_has_an_end(body: bytes) -> None:
    parser = parse(*CHUNKED, body=body)
    assert parser.error is not None
    assert parser.error.code == 400


@pytest.mark.parametrize(("size", "taken"), [(1, False), (20, False), (100, True), (65_536, True)])
def test_chunks_are_mostly_payload(size: int, taken: bool) -> None:
    body = (b"%x\r\n" % size + b"x" * size + b"\r\n") * (200_000 // size) + b"0\r\n\r\n"
    parser = parse(*CHUNKED, body=body)
    assert (parser.error is None) == taken


def test_a_few_small_chunks_are_taken() -> None:
    assert parse(*CHUNKED, body=b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n").error is None

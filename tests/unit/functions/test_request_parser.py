"""The head of a request that a proxy before the function could understand differently, or that takes long to read."""

from __future__ import annotations

import time

import pytest
from waitress.adjustments import Adjustments

from functions.server import FunctionParser


def parse(head: bytes) -> int:
    """Return the status with which a head is refused; 0 when it isn't."""
    parser = FunctionParser(Adjustments())
    parser.received(head + b"\r\n\r\n")
    return parser.error.code if parser.error else 0


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked", 0),
        (b"POST / HTTP/1.0\r\nContent-Length: 3", 0),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\ntransfer-encoding:", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked", 400),
    ],
)
def test_two_programs_end_a_request_at_the_same_place(head: bytes, status: int) -> None:
    assert parse(head) == status


def test_blanks_in_a_header_do_not_stop_the_loop_of_all_connections() -> None:
    began = time.process_time()
    assert parse(b"POST / HTTP/1.1\r\nA:" + b" " * 20_000 + b"x") == 400
    assert time.process_time() - began < 0.1

"""Requests that a proxy and a server could end at different places are refused."""

from __future__ import annotations

import time

import pytest

from eaves.delivery.response_rules import Blame, find_blame
from eaves.errors import EventError, MalformedRequestError
from eaves.ingress.request import CHUNKED, parse_headers, parse_length
from eaves.problem_document import build_problem, error_type


def parse(text: str) -> int | None:
    return parse_length(parse_headers(text.split("\r\n")[:-1]))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", None),
        ("Content-Length: 12\r\n", 12),
        ("Transfer-Encoding: Chunked\r\n", CHUNKED),
        ("Content-Length: 9\r\nContent-Type: multipart/form-data; boundary=x\r\n", 9),
    ],
)
def test_it_says_where_the_body_ends(text: str, length: int | None) -> None:
    assert parse(text) == length


@pytest.mark.parametrize(
    "text",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: \u0665\r\n".encode().decode("latin-1"),
        "Content-Length: 9999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\r\n\t6\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "no header at all\r\nContent-Length: 5\r\n",
        "Host: a\r\nHost: b\r\n",
    ],
)
def test_what_is_ambiguous_is_refused(text: str) -> None:
    with pytest.raises(MalformedRequestError):
        parse(text)


def test_a_malformed_header_is_refused_at_once_however_many_blanks_it_has() -> None:
    began = time.process_time()
    with pytest.raises(MalformedRequestError):
        parse(f"Accept:{' ' * 1_000}\0\r\n")  # with a head's 64 KB, a search that tries every split would take days
    assert time.process_time() - began < 0.1


def test_a_damaged_request_blames_no_event() -> None:
    """A proxy on the way that damages one request damages those of every event."""
    document = build_problem(400, "", kind=error_type(MalformedRequestError))
    assert find_blame(400, document) is Blame.UNKNOWN
    assert find_blame(400, build_problem(400, "", kind=error_type(EventError))) is Blame.EVENT

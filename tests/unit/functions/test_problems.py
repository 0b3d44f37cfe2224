"""Problem documents and the heads of requests."""

import json
import time
from typing import Any

import pytest
from flask import Response
from waitress.adjustments import Adjustments

from eaves import errors
from eaves.problem_document import MAX_BYTES
from functions.problems import (
    error_response,
    problem_type,
    refusal_response,
)
from functions.server import FunctionParser


def document(response: Response) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    content = response.get_data()
    assert len(content) <= MAX_BYTES
    values: dict[str, Any] = json.loads(content)
    assert values["status"] == response.status_code
    assert values["type"].startswith("urn:eaves:problem:")
    return values


def test_under_the_open_inference_protocol_an_error_is_json_with_its_reason():
    """KServe's client reads `error` of exactly this content type."""
    response = refusal_response(413, "too large", path="/v2/models/flowers/infer")
    assert response.content_type == "application/json"
    assert json.loads(response.get_data())["error"] == "too large"
    assert problem_type(response) == "http-413"


@pytest.mark.parametrize("letter", ["x", "ü", "😀", '"'])
def test_of_a_long_detail_as_much_as_fits_is_kept(letter: str):
    response = error_response(errors.EventError(letter * 2000, hint="shorten it"))
    values = document(response)
    assert values["detail"].endswith("...")
    assert values["detail"].startswith(letter * 30)
    assert values["hint"] == "shorten it"
    assert len(response.get_data()) > MAX_BYTES - 20


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
def test_two_programs_end_a_request_at_the_same_place(head: bytes, status: int):
    assert parse(head) == status


def test_blanks_in_a_header_do_not_stop_the_loop_of_all_connections():
    began = time.process_time()
    assert parse(b"POST / HTTP/1.1\r\nA:" + b" " * 20_000 + b"x") == 400
    assert time.process_time() - began < 0.1

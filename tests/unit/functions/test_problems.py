"""Problem documents: the status says what to do next, and 700 bytes are enough for every one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Response

from eaves import errors
from eaves.problem_document import MAX_BYTES
from functions.problems import (
    error_response,
    problem_type,
    refusal_response,
)


def document(response: Response) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    content = response.get_data()
    assert len(content) <= MAX_BYTES
    values: dict[str, Any] = json.loads(content)
    assert values["status"] == response.status_code
    assert values["type"].startswith("urn:eaves:problem:")
    return values


def test_under_the_open_inference_protocol_an_error_is_json_with_its_reason() -> None:
    """KServe's client reads `error` of exactly this content type."""
    response = refusal_response(413, "too large", path="/v2/models/flowers/infer")
    assert response.content_type == "application/json"
    assert json.loads(response.get_data())["error"] == "too large"
    assert problem_type(response) == "http-413"


@pytest.mark.parametrize("letter", ["x", "ü", "😀", '"'])
def test_of_a_long_detail_as_much_as_fits_is_kept(letter: str) -> None:
    response = error_response(errors.EventError(letter * 2000, hint="shorten it"))
    values = document(response)
    assert values["detail"].endswith("...")
    assert values["detail"].startswith(letter * 30)
    assert values["hint"] == "shorten it"
    assert len(response.get_data()) > MAX_BYTES - 20

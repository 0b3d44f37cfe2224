"""The Open Inference Protocol's messages where they cost or say too much: numbers, names and shapes without end."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from eaves.artifact import TensorSpec
from eaves.errors import InputError, TensorError
from functions.http.inference_messages import MAX_MARKS, InferRequest, build_response, parse_request

IMAGE = TensorSpec(name="image", dtype="uint8", shape=(-1, -1, -1, 3))
OUTPUTS = ("label", "probabilities")


def parse(tensor: dict[str, Any], spec: TensorSpec = IMAGE, **fields: Any) -> InferRequest:
    return parse_request(
        json.dumps({"inputs": [{"name": spec.name, **tensor}], **fields}).encode(), None, spec, OUTPUTS
    )


def pixel(*data: Any, shape: tuple[int, ...] = (1, 1, 1, 3)) -> dict[str, Any]:
    return {"datatype": "UINT8", "shape": list(shape), "data": list(data)}


def peak_bytes(body: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            parse_request(body, None, IMAGE, OUTPUTS)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_one_long_text_among_many_does_not_give_each_of_them_its_room() -> None:
    """numpy would make 240 MB of these."""
    body = json.dumps({"inputs": [{"name": "image", **pixel(*["x" * 3_000_000] + [""] * 20, shape=(1, 1, 7, 3))}]})
    assert peak_bytes(body.encode()) < 20_000_000


@pytest.mark.parametrize("mark", ["[]", "{}", '""'])
def test_lists_without_end_are_refused_before_they_are_parsed(mark: str) -> None:
    body = '{"inputs": [' + f"{mark}," * MAX_MARKS + "0]}"
    assert peak_bytes(body.encode()) < 2_000_000


@pytest.mark.parametrize("content", [{"data": [1]}, {"data": [[1]]}, {"parameters": {"binary_data_size": 1}}])
def test_sizes_of_thousands_of_digits_are_refused(content: dict[str, Any]) -> None:
    """Python doesn't print their product."""
    body = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 7, 7, 3], **content}]})
    large = body.replace("7", "7" * 4000).encode()
    with pytest.raises(InputError, match="from 1 to"):
        parse_request(large + b"x", len(large), IMAGE, OUTPUTS)


@pytest.mark.parametrize(
    "data",
    [
        [[[[1, 2, 3], [4, 5, 6]]]],
        [[1, 2, 3], [4, 5, 6]],
        [[[[1, 2, 3]], 4]],
        [],
        [2**64] * 6,
        [10**400, 1.5, 1, 1, 1, 1],
    ],
)
def test_nested_otherwise_is_refused(data: Any) -> None:
    """The meaning of the same numbers in another shape is not known."""
    with pytest.raises(InputError):
        parse(pixel(*data, shape=(1, 2, 1, 3)))


def test_a_tensor_of_truths() -> None:
    spec = TensorSpec(name="seen", dtype="bool", shape=(-1, 2))
    tensor = {"datatype": "BOOL", "shape": [1, 2], "data": [True, False]}
    assert [np.asarray(example).tolist() for example in parse(tensor, spec=spec).examples] == [[True, False]]
    with pytest.raises(InputError):
        parse({**tensor, "data": [1, 0]}, spec=spec)


def test_what_is_not_finite_goes_in_binary_only() -> None:
    results = [{"probabilities": np.array([np.nan, np.inf], np.float32)}]
    asked: Any = {"name": "probabilities", "parameters": {"binary_data": True}}
    body, json_bytes = build_response(parse(pixel(1, 2, 3), outputs=[asked]), results, "flowers", "1")
    assert json_bytes is not None
    assert np.frombuffer(body[json_bytes:], "<f4").tolist()[1] == np.inf
    with pytest.raises(TensorError, match="finite") as caught:
        build_response(parse(pixel(1, 2, 3), outputs=[{"name": "probabilities"}]), results, "flowers", "1")
    assert caught.value.http_status == 422


def test_answers_of_different_shapes_can_not_be_reported_as_one() -> None:
    results = [{"probabilities": np.zeros(size, np.float32)} for size in (2, 3)]
    with pytest.raises(TensorError, match="a different shape"):
        build_response(parse(pixel(1, 2, 3), outputs=[{"name": "probabilities"}]), results, "flowers", "1")

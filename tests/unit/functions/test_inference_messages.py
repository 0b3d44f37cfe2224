"""Messages of the Open Inference Protocol, as its specification's examples have them."""

import base64
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from eaves.artifact import TensorSpec
from eaves.errors import InputError, TensorError
from functions.inference_messages import (
    MAX_EXAMPLES,
    MAX_MARKS,
    MAX_VALUES,
    InferRequest,
    build_response,
    parse_request,
)

IMAGE = TensorSpec(name="image", dtype="uint8", shape=(-1, -1, -1, 3))
OUTPUTS = ("label", "probabilities")
PIXELS = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


def parse(
    tensor: dict[str, Any], rest: bytes = b"", spec: TensorSpec = IMAGE, *, json_bytes: int | None = None, **fields: Any
) -> InferRequest:
    head = json.dumps({"inputs": [{"name": spec.name, **tensor}], **fields}).encode()
    size = len(head) if rest and json_bytes is None else json_bytes
    return parse_request(head + rest, size, spec, OUTPUTS)


def as_json(array: np.ndarray[Any, Any], *, flat: bool) -> dict[str, Any]:
    return {"datatype": "UINT8", "shape": list(array.shape), "data": (array.ravel() if flat else array).tolist()}


def test_pixels_in_json_flat_or_nested_and_in_binary():
    binary = {"datatype": "UINT8", "shape": [2, 3, 4, 3], "parameters": {"binary_data_size": PIXELS.nbytes}}
    for tensor, rest in (
        (as_json(PIXELS, flat=True), b""),
        (as_json(PIXELS, flat=False), b""),
        (binary, PIXELS.tobytes()),
    ):
        request = parse(tensor, rest, id="7")
        np.testing.assert_array_equal(np.stack(request.examples), PIXELS)
        assert (request.id, request.outputs, request.binary) == ("7", OUTPUTS, frozenset())


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_encoded_images_in_json_and_in_binary(shape: list[int]):
    images = [b"\xff\xd8first", b""]
    texts = [base64.b64encode(image).decode() for image in images]
    assert parse({"datatype": "BYTES", "shape": shape, "data": texts}).examples == images
    content = b"".join(struct.pack("<I", len(image)) + image for image in images)
    tensor = {"datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": len(content)}}
    assert parse(tensor, content).examples == images


GOOD = as_json(PIXELS[:1], flat=True)
BINARY = {"datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}
TWO_PIXELS = {"datatype": "UINT8", "shape": [1, 2, 1, 3]}
BAD: dict[str, tuple[dict[str, Any], bytes]] = {
    "numbers nested otherwise": ({**TWO_PIXELS, "data": [[[[1, 2, 3], [4, 5, 6]]]]}, b""),
    "numbers nested in part": ({**TWO_PIXELS, "data": [[[[1, 2, 3]], 4]]}, b""),
    "a large number among fractions": ({**TWO_PIXELS, "data": [10**400, 1.5, 1, 1, 1, 1]}, b""),
    "another datatype": ({**GOOD, "datatype": "FP32"}, b""),
    "a shape of bools": ({**GOOD, "shape": [True, 3, 4, 3]}, b""),
    "four channels": ({**GOOD, "shape": [1, 3, 3, 4]}, b""),
    "a shape of another size": ({**GOOD, "shape": [1, 3, 5, 3]}, b""),
    "too many examples": ({"datatype": "BYTES", "shape": [MAX_EXAMPLES + 1], "data": [""] * (MAX_EXAMPLES + 1)}, b""),
    "no data": ({"datatype": "UINT8", "shape": [1, 3, 4, 3]}, b""),
    "data of texts": ({**GOOD, "data": ["1"] * 36}, b""),
    "numbers beyond a byte": ({**GOOD, "data": [256] * 36}, b""),
    "astronomic numbers": ({**GOOD, "data": [10**400] * 36}, b""),
    "bytes that are not base64": ({"datatype": "BYTES", "shape": [1], "data": ["\xff\xd8"]}, b""),
    "a binary element too long": (BINARY, b"\xff\xff\xff\xffa"),
    "binary with more to follow": (BINARY, b"\0\0\0\0a"),
    "parameters that are none": ({**GOOD, "parameters": [1]}, b""),
    "a binary tensor too short": ({**GOOD, "parameters": {"binary_data_size": 2}}, b"ab"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_answered_is_refused(case: str):
    tensor, rest = BAD[case]
    with pytest.raises(InputError):
        parse(tensor, rest)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"inputs": [1]}',
        b"[" * 100_000,
        b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1,1,1,3], "data": [NaN,1,1]}]}',
        b'{"id":"a","id":"b","inputs": [{"name": "image", "datatype": "UINT8", "shape": [1,1,1,3],"data": [1,1,1]}]}',
        b'{"inputs": [' + b"0," * (MAX_VALUES + 1) + b"0]}",
    ],
)
def test_what_is_no_request_is_refused(body: bytes):
    with pytest.raises(InputError):
        parse_request(body, None, IMAGE, OUTPUTS)


@pytest.mark.parametrize(
    "fields",
    [
        {"outputs": [{"name": "nothing"}]},
        {"outputs": ["label"]},
        {"outputs": [{"name": "label"}] * 3},
        {"parameters": 1},
    ],
)
def test_outputs_that_are_not_there_are_refused(fields: dict[str, Any]):
    with pytest.raises(InputError):
        parse(GOOD, **fields)


@pytest.mark.parametrize("json_bytes", [-1, 10**9])
def test_a_json_size_beyond_the_body_is_refused(json_bytes: int):
    with pytest.raises(InputError, match="Inference-Header-Content-Length"):
        parse(GOOD, json_bytes=json_bytes)


RESULTS = [
    {"label": np.array(name, object), "probabilities": np.array([p, 1 - p], np.float32)}
    for name, p in (("tulip", 0.1), ("Löwenzahn", 0.75))
]


def test_a_response_in_json_brings_every_number_back():
    body, json_bytes = build_response(parse(GOOD, id="7"), RESULTS, "flowers", "1")
    assert json_bytes is None
    document = json.loads(body)
    assert (document["id"], document["model_name"], document["model_version"]) == ("7", "flowers", "1")
    label, probabilities = document["outputs"]
    assert label == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["tulip", "Löwenzahn"]}
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP32", [2, 2])
    wanted = np.stack([result["probabilities"] for result in RESULTS])
    np.testing.assert_array_equal(np.array(probabilities["data"], np.float32).reshape(2, 2), wanted)


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": name, "parameters": {"binary_data": True}} for name in OUTPUTS]},
    ],
)
def test_a_response_in_binary(fields: dict[str, Any]):
    body, json_bytes = build_response(parse(GOOD, **fields), RESULTS, "flowers", "1")
    assert json_bytes is not None
    label, probabilities = json.loads(body[:json_bytes])["outputs"]
    first = label["parameters"]["binary_data_size"]
    assert body[json_bytes:][:first] == b"\x05\0\0\0tulip\x0a\0\0\0L\xc3\xb6wenzahn"
    assert "data" not in probabilities
    found = np.frombuffer(body[json_bytes + first :], "<f4").reshape(probabilities["shape"])
    np.testing.assert_array_equal(found, np.stack([result["probabilities"] for result in RESULTS]))


# Numbers, names and shapes without end.


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


def test_one_long_text_among_many_does_not_give_each_of_them_its_room():
    """numpy would make 240 MB of these."""
    body = json.dumps({"inputs": [{"name": "image", **pixel(*["x" * 3_000_000] + [""] * 20, shape=(1, 1, 7, 3))}]})
    assert peak_bytes(body.encode()) < 20_000_000


@pytest.mark.parametrize("mark", ["[]", "{}", '""'])
def test_lists_without_end_are_refused_before_they_are_parsed(mark: str):
    body = '{"inputs": [' + f"{mark}," * MAX_MARKS + "0]}"
    assert peak_bytes(body.encode()) < 2_000_000


@pytest.mark.parametrize("content", [{"data": [1]}, {"data": [[1]]}, {"parameters": {"binary_data_size": 1}}])
def test_sizes_of_thousands_of_digits_are_refused(content: dict[str, Any]):
    """Python doesn't print their product."""
    body = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 7, 7, 3], **content}]})
    large = body.replace("7", "7" * 4000).encode()
    with pytest.raises(InputError, match="from 1 to"):
        parse_request(large + b"x", len(large), IMAGE, OUTPUTS)


def test_what_is_not_finite_goes_in_binary_only():
    results = [{"probabilities": np.array([np.nan, np.inf], np.float32)}]
    asked: Any = {"name": "probabilities", "parameters": {"binary_data": True}}
    body, json_bytes = build_response(parse(pixel(1, 2, 3), outputs=[asked]), results, "flowers", "1")
    assert json_bytes is not None
    assert np.frombuffer(body[json_bytes:], "<f4").tolist()[1] == np.inf
    with pytest.raises(TensorError, match="finite") as caught:
        build_response(parse(pixel(1, 2, 3), outputs=[{"name": "probabilities"}]), results, "flowers", "1")
    assert caught.value.http_status == 422


def test_answers_of_different_shapes_can_not_be_reported_as_one():
    results = [{"probabilities": np.zeros(size, np.float32)} for size in (2, 3)]
    with pytest.raises(TensorError, match="a different shape"):
        build_response(parse(pixel(1, 2, 3), outputs=[{"name": "probabilities"}]), results, "flowers", "1")

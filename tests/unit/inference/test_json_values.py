"""The task `tensor`: JSON to one example, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eaves.artifact import TensorSpec
from eaves.errors import TensorError
from eaves.inference import json_values
from eaves.inference.json_values import parse_tensor

WINDOW = TensorSpec(name="window", shape=(-1, 2, 3))
VALUES = [[1, 2.5, -3], [4, 5e-3, 6]]


@pytest.mark.parametrize("sent", [VALUES, {"values": VALUES}, {"station": "roof", "values": VALUES}])
def test_lists_alone_or_as_values(sent: Any):
    tensor = parse_tensor(json.dumps(sent).encode(), WINDOW)
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, np.array(VALUES, np.float32))


def test_a_free_axis_is_as_long_as_its_first_list():
    spec = TensorSpec(name="x", shape=(-1, -1, 2))
    assert parse_tensor(b"[[1, 2], [3, 4], [5, 6]]", spec).shape == (3, 2)
    spec = TensorSpec(name="x", shape=(-1, 2, -1))
    assert parse_tensor(b"[[1, 2, 3], [4, 5, 6]]", spec).shape == (2, 3)
    with pytest.raises(TensorError, match="2 values on axis 1"):
        parse_tensor(b"[[1, 2, 3], [4, 5]]", spec)


BAD = {
    "nothing": (b"", "Expecting value"),
    "no UTF-8": (b'["\xff"]', "not UTF-8"),
    "not a number": (b"[[NaN, 1, 2], [3, 4, 5]]", "NaN is not a number in JSON"),
    "too large for float32": (b"[[1e39, 1, 2], [3, 4, 5]]", "not float32"),
    "an integer without end": (b"[[1" + b"0" * 400 + b", 1, 2], [3, 4, 5]]", "not float32"),
    "a string": (b'[["1", 1, 2], [3, 4, 5]]', "found a string instead of a number"),
    "true": (b"[[true, 1, 2], [3, 4, 5]]", "found true or false instead of a number"),
    "ragged": (b"[[0, 1, 2], [3, 4]]", "2 values on axis 1"),
    "too few": (b"[[0, 1, 2]]", "1 values on axis 0"),
    "flat": (b"[0, 1, 2, 3, 4, 5]", "6 values on axis 0"),
    "deeper": (b"[[[0], 1, 2], [3, 4, 5]]", "found a list instead of a number"),
    "deeper than Python likes": (b"[" * 10_000, "more than 1018 values"),
    "a number": (b"1", "found a number instead of a list"),
    "an object": (b'{"window": [1]}', "found null or no value instead of a list"),
    "a name twice": (
        b'{"values": [[0, 1, 2], [3, 4, 5]], "values": 1}',
        "duplicate name in one object: 'values'",
    ),
    "many lists": (b"[" + b"[]," * 1100 + b"0]", "more than 1018 values"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_says_what_is_taken(case: str):
    data, message = BAD[case]
    with pytest.raises(TensorError, match=message) as caught:
        parse_tensor(data, WINDOW)
    assert caught.value.http_status == 422
    assert "float32 values of the shape 2 x 3" in caught.value.message
    assert len(caught.value.message) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["values", "x"]), inner, max_size=2),
    max_leaves=12,
)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats()
NEARLY = st.lists(st.lists(NUMBERS, min_size=2, max_size=3), min_size=2, max_size=2)


@given(st.binary(max_size=60) | (JSON | NEARLY).map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize("spec", [WINDOW, TensorSpec(name="x", dtype="int32", shape=(-1, -1, 3))])
def test_whatever_comes_is_a_tensor_or_refused(spec: TensorSpec, data: bytes):
    try:
        tensor = parse_tensor(data, spec)
    except TensorError:
        return
    assert spec.fits(tensor.shape)
    assert tensor.dtype.name == spec.dtype
    assert np.all(np.isfinite(tensor))


@pytest.mark.parametrize("data", [b"[1.5]", b"[128]", b"[-129]", b"[1e400]"])
def test_integers_are_whole_and_in_range(data: bytes):
    with pytest.raises(TensorError, match="some numbers are not int8"):
        parse_tensor(data, TensorSpec(name="x", dtype="int8", shape=(-1, 1)))


def test_numbers_are_as_long_as_they_are_exact():
    assert json.dumps(json_values.numbers(np.array([[0.1, 1 / 3]], np.float32))) == "[[0.1, 0.3333333]]"
    assert json_values.numbers(np.array([0.1], np.float64)) == [0.1]
    assert json_values.numbers(np.array(7, np.int64)) == 7
    assert json_values.numbers(np.array([True])) == [True]
    with pytest.raises(ValueError, match="finite"):
        json_values.numbers(np.array([np.inf], np.float16))

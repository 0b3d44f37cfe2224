"""JSON in and out of a model: parsing of one example of its input, and conversion of values for a reply.

An example is nested lists in the shape of the input without its batch dimension, either alone or as `values` of an
object whose other members are ignored:

    [[21.5, 412.0], [21.7, 430.0]]          {"station": "roof", "values": [[21.5, 412.0], [21.7, 430.0]]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact import TensorSpec
from eaves.base.strict_json import parse_json
from eaves.errors import TensorError
from eaves.recipe import Tensor

MAX_BYTES = 1024 * 1024
"""Maximum size of the values that handler.py returns, bytes; every process that handles the event keeps it in
memory."""
MAX_FREE_VALUES = 32_768
"""Maximum number of values in one input example, if the model accepts inputs of any size in some dimension."""
VALUES_BESIDE = 1000
"""Number of values allowed in addition to those that the shape needs."""


def parse_tensor(data: bytes, spec: TensorSpec) -> Tensor:
    """Parse JSON into one example of a model's input.

    Args:
        data: JSON text in UTF-8.
        spec: Specification of the graph's input.

    Raises:
        TensorError: When the data is not JSON with numbers in the shape of the input; the message names the accepted
            shape.
    """
    shape = spec.shape[1:]
    sides = " x ".join("any" if size == -1 else str(size) for size in shape)
    wanted = f'{spec.dtype} values of the shape {sides}, as nested lists or {{"values": ...}}'
    count = MAX_FREE_VALUES if -1 in shape else math.prod(shape)
    try:
        sent = parse_json(data, max_values=count * (len(shape) + 1) + VALUES_BESIDE)
        values = sent.get("values") if isinstance(sent, dict) else sent
        flat, sizes = flatten(values, shape)
        if strange := next((value for value in flat if type(value) not in (int, float)), None):
            raise ValueError(f"found {_kind(strange)} instead of a number")
        made = build_array(flat, sizes, np.dtype(spec.dtype))
    except UnicodeDecodeError as error:
        raise TensorError(f"the data is not UTF-8; the model takes {wanted} in JSON") from error
    except ValueError as error:
        raise TensorError(f"{str(error)[:160]}; the model takes {wanted}") from error
    if made is None:
        raise TensorError(f"some numbers are not {spec.dtype}; the model takes {wanted}")
    return made


def flatten(values: Any, shape: Sequence[int]) -> tuple[list[Any], list[int]]:
    """Return the values of nested lists in C order, and the length of each axis.

    Args:
        values: Nested lists in the shape.
        shape: Length of each axis; along a free one, -1, the first list sets the length of all others.

    Raises:
        ValueError: When something else is found; the message says what.
    """
    level, sizes = [values], list(shape)
    for axis in range(len(shape)):
        for one in level:
            if not isinstance(one, list):
                raise ValueError(f"found {_kind(one)} instead of a list")  # noqa: TRY004 - one kind for all faults
            if sizes[axis] == -1 and one:
                sizes[axis] = len(one)
            if len(one) != sizes[axis]:
                raise ValueError(f"found {len(one)} values on axis {axis}")
        level = list(chain.from_iterable(level))
    return level, sizes


def build_array(flat: Sequence[int | float], shape: Sequence[int], dtype: np.dtype[Any]) -> Tensor | None:
    """Return numbers, given in C order, as an array; None when some are not finite, or not exact integers, in dtype."""
    with np.errstate(all="ignore"):
        array = np.array(flat)
        if array.dtype.kind not in "iufb":  # integers of any length are objects
            return None
        made = array.astype(dtype)
    exact = np.all(np.isfinite(made)) if dtype.kind == "f" else np.array_equal(made, array)
    return made.reshape(shape) if exact else None


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null or no value"}
    return kinds.get(type(value), "a number")


def numbers(array: npt.NDArray[Any]) -> Any:
    """Return an array as nested lists, and an array without axes as a number.

    Floats are rounded to seven significant digits, the precision of float32, instead of the seventeen digits of
    float64.

    Raises:
        ValueError: When the array holds no numbers, or a number that isn't finite, which JSON can't represent.
    """
    if array.dtype.kind not in "fiub":
        raise ValueError(f"values of type {array.dtype} are not numbers")
    if array.dtype.kind != "f":
        return array.tolist()
    if not np.all(np.isfinite(array)):
        raise ValueError("some numbers are not finite")
    if array.dtype.itemsize < 8:
        rounded = [float(f"{value:.7g}") for value in array.ravel().tolist()]
        return np.array(rounded, np.float64).reshape(array.shape).tolist()
    return array.tolist()


def plain(value: Any) -> Any:
    """Return a copy of mappings, lists, strings and numbers; numpy's scalars and arrays become Python's.

    Raises:
        ValueError: When JSON can't hold a value, or the values are larger than a reply may be.
    """
    text = json.dumps(value, default=_convert, allow_nan=False)
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return json.loads(text)


def _convert(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return numbers(np.asarray(value))
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(f"a {type(value).__name__}, which JSON can't represent")

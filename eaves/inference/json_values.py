"""Conversion of values for a reply into values that JSON can hold: numbers as short as is exact, of bounded size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BYTES = 1024 * 1024
"""Maximum size of the values that handler.py returns, bytes; every process that handles the event keeps it in
memory."""


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

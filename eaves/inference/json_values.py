"""Conversion of values for a reply into values that JSON can hold: numbers as short as is exact, of bounded size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BYTES = 1024 * 1024
"""Maximum size of the values that handler.py returns, bytes; every process that handles the event keeps it in
memory."""
MAX_DEPTH = 20


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
        ValueError: When JSON can't hold a value, or the values are nested deeper or larger than a reply may be.
    """
    return _Copy().make(value, 0)


class _Copy:
    """Copies one value to plain data for JSON within a limit of bytes.

    The limit also stops the copying of a list that is small in memory and huge as JSON, because it contains the same
    list many times.
    """

    def __init__(self) -> None:
        self._left = MAX_BYTES

    def make(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"values nested more than {MAX_DEPTH} deep, or containing themselves")
        if isinstance(value, np.ndarray | np.generic):
            self._spend(2 * value.size)
            value = value.item() if isinstance(value, np.str_) else numbers(np.asarray(value))
        if isinstance(value, Mapping):
            return {self._key(key): self.make(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            self._spend(2)
            return [self.make(item, depth + 1) for item in value]
        return self._scalar(value)

    def _key(self, key: Any) -> str:
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r:.40}, which is not a string")  # noqa: TRY004 - one kind for all faults
        self._spend(len(key) + 4)
        return str(key)

    def _scalar(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            self._spend(5)
            return value
        if isinstance(value, str):
            self._spend(len(value) + 3)
            return str(value)
        if isinstance(value, int):
            self._spend(value.bit_length() // 3 + 2)
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError("a number that is not finite")
            self._spend(10)
            return float(value)
        raise ValueError(f"a {type(value).__name__}, which JSON can't represent")

    def _spend(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._left < 0:
            raise ValueError(f"more than {MAX_BYTES} bytes")

"""Reads the tensors of a known file that PyTorch's `torch.save` wrote, without PyTorch.

Such a file holds pickles, and unpickling calls whatever a pickle names. Only a file of the expected SHA-256 is read,
and the unpickler knows only the names in `_Unpickler.find_class`.

Source: torch/serialization.py, `_legacy_save`, the format of PyTorch before 1.6: five pickles (magic number, version,
properties of the system, tensors by name, keys of the storages), then each storage as its number of elements (int64)
and their bytes.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
"""Name of each kind of storage in `torch` to the type of its elements; the file has no other kinds."""

Tensor = npt.NDArray[Any]


class _TensorReference(NamedTuple):
    """A tensor as a part of a storage, (type, key) of which are given; `offset` and `stride` count elements."""

    storage: tuple[str, str]
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """An unpickler that builds texts, numbers, tuples, lists and dictionaries, and references to tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: _TensorReference(*parts[:4])
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module[:80]}.{name[:80]}")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _kind, dtype, key, *_ = pid
        return dtype, key


def load_tensors(path: Path, *, sha256: str) -> dict[str, Tensor]:
    """Load the tensors of a file, by name.

    Args:
        path: Path of the file.
        sha256: SHA-256 that the file must have, hex.

    Raises:
        OSError: The file can't be read.
        ValueError: The file has another SHA-256.
    """
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{path.name} has the SHA-256 {found}, not {sha256}")
    stream = BytesIO(content)
    _magic, _version, _system, named, keys = (_Unpickler(stream).load() for _ in range(5))
    dtypes = dict(tensor.storage[::-1] for tensor in named.values())
    storages, start = {}, stream.tell()
    for key in keys:
        count = int.from_bytes(content[start : start + 8], "little")
        storages[key] = np.frombuffer(content, dtypes[key], count, start + 8)
        start += 8 + storages[key].nbytes
    return {name: _view(tensor, storages[tensor.storage[1]]) for name, tensor in named.items()}


def _view(tensor: _TensorReference, elements: Tensor) -> Tensor:
    """Return the tensor as a view of its storage's elements; it may be transposed."""
    width = elements.itemsize
    strides = tuple(step * width for step in tensor.stride)
    return np.ndarray(tensor.size, elements.dtype, elements, tensor.offset * width, strides)

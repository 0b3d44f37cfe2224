"""Reads the tensors of a file that PyTorch's `torch.save` wrote, without PyTorch.

Such a file holds pickles, and unpickling calls whatever a pickle names. Three things keep this reader from calling
anything else than what builds tensors: the file must have the expected SHA-256; its pickles may have only the opcodes
that tensors need, in limited numbers; and the unpickler knows only the names in `_Unpickler.find_class`.

Source: torch/serialization.py, `_legacy_save`, the format of PyTorch before 1.6: five pickles (magic number, version,
properties of the system, tensors by name, keys of the storages), then each storage as its number of elements (int64)
and their bytes.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import pickletools
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_FILE_BYTES = 256 * 2**20
"""Maximum size of a file; a network of 60 million parameters in float32 fits."""
MAX_OPCODES = 200_000
"""Maximum number of opcodes of a pickle, and largest index of its memo, whose size is allocated at once. The file of
EfficientNet-Lite0 has 12,000 opcodes for 296 tensors."""
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
"""Values of the first two pickles. Source: torch/serialization.py, MAGIC_NUMBER and PROTOCOL_VERSION."""
_OPCODES = {
    *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "LONG1", "BININT", "BININT1", "BININT2", "BINUNICODE"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT"),
    *("SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "REDUCE", "BINPERSID", "BUILD"),
}
"""Opcodes that PyTorch's files have. Source: Python, Lib/pickletools.py."""
_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
"""Name of each kind of storage in `torch` to the type of its elements; the file has no other kinds."""

Tensor = npt.NDArray[Any]


def load_tensors(path: Path, *, sha256: str) -> dict[str, Tensor]:
    """Load the tensors of a file, by name.

    Args:
        path: Path of the file.
        sha256: SHA-256 that the file must have, hex.

    Raises:
        OSError: The file can't be read.
        ValueError: The file has another SHA-256, or holds something else than tensors.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_FILE_BYTES:,} bytes")
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{path.name} has the SHA-256 {found}, not {sha256}")
    return parse_tensors(content)


def parse_tensors(content: bytes) -> dict[str, Tensor]:
    """Parse the tensors of a file, by name, from its bytes; nothing that the file names is imported or called.

    Raises:
        ValueError: The bytes are no such file, or hold something else than tensors.
    """
    stream = BytesIO(content)
    try:
        if _unpickle(stream) != MAGIC or _unpickle(stream) != VERSION:
            raise ValueError("it doesn't begin as such a file does")
        _unpickle(stream)
        named, keys = dict(_unpickle(stream)), _unpickle(stream)
        storages = _read_storages(stream, keys, {tensor.storage.key: tensor.storage for tensor in named.values()})
        return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in named.items()}
    # a damaged or hostile pickle makes any of these
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError) as e:
        raise ValueError(f"the content is not a PyTorch file of tensors: {str(e)[:200]}") from e


@dataclass(frozen=True, slots=True)
class _Storage:
    """Reference to the elements of a tensor: their type, the key under which the file lists them, and their number."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class _TensorReference:
    """A tensor as a part of a storage; `offset` and `stride` count elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """An unpickler that builds texts, numbers, tuples, lists and dictionaries, and references to tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _TensorReference(storage, offset, size, stride)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module[:80]}.{name[:80]}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, count, _view_of = pid
        if kind != "storage" or dtype not in _DTYPES.values() or not isinstance(key, str) or not isinstance(count, int):
            raise pickle.UnpicklingError("a storage is described in another way than PyTorch does")
        return _Storage(dtype, key, count)


def _unpickle(stream: BytesIO) -> Any:
    """Return the value of the pickle at the stream's position, and move the position behind it."""
    start = stream.tell()
    for number, (opcode, value, _) in enumerate(pickletools.genops(stream)):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(f"it has the opcode {opcode.name}")
        if number >= MAX_OPCODES or (opcode.name == "LONG_BINPUT" and int(value or 0) >= MAX_OPCODES):
            raise pickle.UnpicklingError(f"it has more than {MAX_OPCODES:,} opcodes or memo entries")
    return _Unpickler(BytesIO(stream.getvalue()[start : stream.tell()])).load()


def _read_storages(stream: BytesIO, keys: list[str], described: dict[str, _Storage]) -> dict[str, Tensor]:
    found, content = {}, stream.getbuffer()
    start = stream.tell()
    for key in keys:
        storage = described[key]
        count, start = int.from_bytes(content[start : start + 8], "little"), start + 8
        if count != storage.count:
            raise ValueError(f"the storage {key} has {count:,} elements, not {storage.count:,}")
        found[key] = np.frombuffer(content, storage.dtype, count, start)  # refuses what is not there
        start += found[key].nbytes
    return found


def _view(tensor: _TensorReference, elements: Tensor) -> Tensor:
    """Return the tensor as a view of its storage's elements.

    A tensor may be a transposed view of them, but it never has more elements than its storage.
    """
    if math.prod(tensor.size) > len(elements):
        raise ValueError(f"a tensor of the shape {tensor.size} has a storage of {len(elements):,} elements")
    width = elements.itemsize
    strides = tuple(step * width for step in tensor.stride)
    return np.ndarray(tensor.size, elements.dtype, elements, tensor.offset * width, strides)  # checks the bounds

"""The reader of PyTorch's files: it builds tensors, and a file that asks for anything else is refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.model.torch_file import MAGIC, MAX_FILE_BYTES, MAX_OPCODES, VERSION, load_tensors, parse_tensors

HEADER = b"".join(pickle.dumps(value, protocol=2) for value in (MAGIC, VERSION, {"little_endian": True}))
VALUES = np.arange(6, dtype="<f4")


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(number(value) for value in values) + b"t"


def tensor(
    *,
    size: Sequence[int] = (2, 3),
    stride: Sequence[int] = (3, 1),
    offset: int = 0,
    count: int = 6,
    key: str = "7",
    names: tuple[bytes, bytes] = (b"torch._utils\n_rebuild_tensor_v2", b"torch\nFloatStorage"),
) -> bytes:
    """The opcodes of a tensor, as torch.save writes them."""
    rebuild, kind = names
    storage = b"(" + text("storage") + b"c" + kind + b"\n" + text(key) + text("cpu") + number(count) + b"NtQ"
    return b"c" + rebuild + b"\n(" + storage + number(offset) + numbers(size) + numbers(stride) + b"\x89NtR"


def state(*tensors: bytes) -> bytes:
    """A pickle of an OrderedDict of tensors, named a, b, ..."""
    pairs = b"".join(text(chr(97 + index)) + one for index, one in enumerate(tensors))
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + pairs + b"u."


def file(tensors: bytes, *, keys: Any = ("7",), storages: bytes = struct.pack("<q", 6) + VALUES.tobytes()) -> bytes:
    return HEADER + tensors + pickle.dumps(list(keys), protocol=2) + storages


def test_tensors_are_read_also_those_that_are_transposed_or_share_a_storage() -> None:
    part = tensor(size=(2,), stride=(1,), offset=4)
    found = parse_tensors(file(state(tensor(), tensor(size=(3, 2), stride=(1, 3)), part)))
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["c"].tolist() == [4, 5]
    assert all(values.dtype == np.float32 for values in found.values())


def test_a_scalar_of_integers_is_read() -> None:
    one = tensor(size=(), stride=(), count=1, names=(b"torch._utils\n_rebuild_tensor_v2", b"torch\nLongStorage"))
    found = parse_tensors(file(state(one), storages=struct.pack("<qq", 1, 1400)))
    assert found["a"].shape == ()
    assert found["a"] == 1400


class Hostile:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("place", ["the first pickle", "the tensors", "a tensor", "the keys"])
@pytest.mark.parametrize("name", ["os.system", "builtins.eval"])
def test_a_hostile_pickle_is_refused_and_nothing_is_run(tmp_path: Path, name: str, place: str, protocol: int) -> None:
    marker = tmp_path / "owned"
    hostile = {
        "os.system": Hostile(os.system, f"touch {marker}"),
        "builtins.eval": Hostile(eval, f"__import__('os').mkdir({str(marker)!r})"),
    }[name]
    pickled = pickle.dumps(hostile, protocol=protocol)
    inner = pickled[2 if protocol >= 2 else 0 : -1]  # without PROTO and STOP
    content = {
        "the first pickle": pickled + file(state(tensor())),
        "the tensors": HEADER + pickled + pickle.dumps(["7"]),
        "a tensor": file(state(tensor(), inner)),
        "the keys": HEADER + state(tensor()) + pickled,
    }[place]
    with pytest.raises(ValueError, match=r"not a PyTorch file of tensors: it (names|has the opcode)"):
        parse_tensors(content)
    assert not marker.exists()
    pickle.loads(pickled)  # the pickle works where anything may be called
    assert marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        "torch._utils\n_rebuild_tensor",
        "torch._utils\n_rebuild_tensor_v2.__globals__",
        "torch\n_utils",
        "torch\nDoubleStorage",
        "torch.serialization\nload",
        "collections\nnamedtuple",
        "collections\nOrderedDict.fromkeys",
        "builtins\ngetattr",
    ],
)
def test_only_the_exact_names_of_the_list_are_known(name: str) -> None:
    for names in ((name.encode(), b"torch\nFloatStorage"), (b"torch._utils\n_rebuild_tensor_v2", name.encode())):
        with pytest.raises(ValueError, match="it names "):
            parse_tensors(file(state(tensor(names=names))))


@pytest.mark.parametrize(
    ("changes", "storages"),
    [
        ({"size": (2**40, 3)}, None),
        ({"size": (2**40,), "stride": (0,)}, None),
        ({"size": (2, 3), "stride": (4, 1)}, None),
        ({"size": (2, 3), "stride": (-3, -1)}, None),
        ({"size": (-2, -3)}, None),
        ({"offset": 1}, None),
        ({"offset": -1}, None),
        ({"count": 2**62}, None),
        ({"count": 2**62}, struct.pack("<q", 2**62) + VALUES.tobytes()),
        ({"count": 7}, struct.pack("<q", 7) + VALUES.tobytes()),
        ({"count": -1}, struct.pack("<q", -1) + VALUES.tobytes()),
        ({"key": "8"}, None),
        ({}, struct.pack("<q", 6) + VALUES.tobytes()[:-1]),
    ],
)
def test_a_size_that_the_file_does_not_have_is_refused(changes: dict[str, Any], storages: bytes | None) -> None:
    content = file(state(tensor(**changes)), **({} if storages is None else {"storages": storages}))
    with pytest.raises(ValueError, match="not a PyTorch file of tensors"):
        parse_tensors(content)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"X" + struct.pack("<I", 2**32 - 1),  # a text of 4 GiB
        b"\x8e" + struct.pack("<Q", 2**40),  # bytes of 1 TiB
        b"\x96" + struct.pack("<Q", 2**40),  # a bytearray of 1 TiB
        b"\x95" + struct.pack("<Q", 2**40),  # a frame of 1 TiB
        b"\x8b" + struct.pack("<i", 2**31 - 1),  # a number of 2 GiB
        b"Nr" + struct.pack("<I", 2**32 - 1),  # the last of 2**32 entries of the memo
        b"N0" * (MAX_OPCODES // 2),
        b"N" * (MAX_OPCODES + 1),
        b"\x82\x01",  # an extension's class
        b"(iposix\nsystem\n",
    ],
)
def test_opcodes_that_ask_for_memory_or_classes_are_refused(opcodes: bytes) -> None:
    with pytest.raises(ValueError, match="not a PyTorch file of tensors"):
        parse_tensors(HEADER + b"\x80\x02" + opcodes + b".")


def test_a_truncated_file_is_refused_wherever_it_ends() -> None:
    whole = file(state(tensor(), tensor()))
    parse_tensors(whole)
    for end in range(len(whole)):
        with pytest.raises(ValueError, match="not a PyTorch file of tensors"):
            parse_tensors(whole[:end])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", bytes(1000), pickle.dumps({"a": 1}), HEADER + b"\x80\x02}."])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a PyTorch file of tensors"):
        parse_tensors(content)


@pytest.mark.parametrize("name", ["collections\nOrderedDict", "torch._utils\n_rebuild_tensor_v2"])
def test_a_pickle_cannot_change_the_reader_itself(name: str) -> None:
    """BUILD sets attributes by setattr where the state is a pair."""
    change = b"(N}" + text("__defaults__") + numbers((1,)) + b"stb"
    with pytest.raises(ValueError, match="not a PyTorch file of tensors"):
        parse_tensors(HEADER + b"\x80\x02c" + name.encode() + b"\n" + change + b".")
    assert parse_tensors(file(state(tensor())))["a"].shape == (2, 3)


def test_the_digest_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    content = file(state(tensor()))
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert load_tensors(path, sha256=digest)["a"].shape == (2, 3)
    path.write_bytes(content + b"x")
    with pytest.raises(ValueError, match=rf"a.pth has the SHA-256 [0-9a-f]{{64}}, not {digest}"):
        load_tensors(path, sha256=digest)
    with path.open("r+b") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ValueError, match="more than"):
        load_tensors(path, sha256=digest)

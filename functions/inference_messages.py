"""Messages of the Open Inference Protocol v2: requests are parsed into arrays, arrays become responses. Pure; no Flask.

A message holds its tensors as JSON, flat or nested, or it uses the binary extension: JSON of
`Inference-Header-Content-Length` bytes, then the bytes of each binary tensor in order. In JSON, an element of type
BYTES is base64, because an image is not text.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md and extension_binary_data.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eaves.artifact import TensorSpec
from eaves.base.strict_json import narrow, parse_json
from eaves.errors import InputError, TensorError
from eaves.inference.json_values import build_array, flatten

Array = npt.NDArray[Any]

_NUMBERS = ("bool", *(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)))
DATATYPES = {
    **{name: name.upper() for name in _NUMBERS},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    "object": "BYTES",
}
"""Names of data types in the protocol, by the name of the numpy type."""
MAX_EXAMPLES = 64
"""Maximum number of examples in one request. Each example takes the time of a prediction, and the request holds its
queue slot during all of them."""
MAX_VALUES, MAX_MARKS = 600_000, 250_000
"""Maximum number of commas, and of brackets and quotes, in the JSON of one request. They limit memory: a parsed number
takes ten times as many bytes as its text, an empty list `[]` forty times. Two images of Inception V3's size as nested
lists are within the limit; binary tensors have no such limit."""
MAX_ID = 256
MAX_SIZE = 2**31 - 1
"""Maximum size of one axis of a tensor. JSON may hold integers so long that Python refuses to format the product of a
shape for an error message."""
_HEADER_BYTES = 4
_BINARY = "use the binary data extension"
_KINDS: Mapping[str, set[type]] = {"b": {bool}}
"""Python types that JSON values of a tensor may have, by numpy's kind of the dtype; kinds that aren't listed accept int
and float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A parsed inference request.

    Attributes:
        id: The client's id of the request; empty when it gave none.
        examples: Encoded examples as bytes, or arrays without the batch dimension.
        outputs: Names of the outputs to return, in order.
        binary: Names of the outputs that are returned as bytes after the JSON.
    """

    id: str
    examples: Sequence[bytes | Array]
    outputs: tuple[str, ...]
    binary: frozenset[str]


def parse_request(body: bytes, json_bytes: int | None, spec: TensorSpec, outputs: Sequence[str]) -> InferRequest:
    """Parse an inference request.

    Args:
        body: The whole body.
        json_bytes: Number of bytes of JSON at the beginning of the body, from the header; None when the whole body is
            JSON.
        spec: Name, type and shape of the model's only input; an input of type BYTES is accepted too.
        outputs: Names of all outputs, in the model's order.

    Raises:
        InputError: When the request is invalid; the message says what was expected.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise InputError(f"Inference-Header-Content-Length is {json_bytes}, but the body has {len(body)} bytes")
    fields = _parse_json(body[:json_bytes])
    tensors = fields.get("inputs")
    if not isinstance(tensors, list) or len(tensors) != 1 or not isinstance(tensors[0], dict):
        raise InputError(f"the request must have exactly one input, {spec.name!r}")
    (tensor,) = tensors
    if tensor.get("name") != spec.name:
        raise InputError(f"the name of the input must be {spec.name!r} (got {str(tensor.get('name'))[:40]!r})")
    rest = memoryview(body)[len(body) if json_bytes is None else json_bytes :]
    chosen, binary = _outputs(fields, outputs)
    given = fields.get("id")
    request_id = "" if given is None else str(given) if type(given) is int else given
    if not isinstance(request_id, str) or len(request_id) > MAX_ID:
        raise InputError(f"the request's id must be a string of at most {MAX_ID} characters")
    return InferRequest(id=request_id, examples=_examples(tensor, rest, spec), outputs=chosen, binary=binary)


def build_response(
    request: InferRequest, results: Sequence[Mapping[str, Array]], model: str, version: str
) -> tuple[bytes, int | None]:
    """Build the response to an inference request.

    Args:
        request: The parsed request.
        results: Outputs by name for each example.
        model: Name of the model.
        version: Version of the model.

    Returns:
        body: JSON, then the bytes of binary outputs.
        json_bytes: Number of bytes of JSON at the beginning of the body; None when the whole body is JSON.

    Raises:
        TensorError: When the model's outputs can't be represented in the requested form.
    """
    described, parts = [], []
    for name in request.outputs:
        arrays = [result[name] for result in results]
        if len({array.shape for array in arrays}) > 1:
            raise TensorError(
                f"the output {name!r:.60} has a different shape for each example", hint="send one example per request"
            )
        array = np.stack(arrays)
        output: dict[str, Any] = {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape)}
        if name in request.binary:
            if array.dtype.kind == "O":
                texts = [str(value).encode() for value in array.flat]
                content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
            else:
                content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            output["parameters"] = {"binary_data_size": len(content)}
            parts.append(content)
        elif array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise TensorError(
                f"some numbers of {name!r:.60} are not finite, and JSON can represent finite numbers only", hint=_BINARY
            )
        else:
            # Nine significant digits restore any float32.
            output["data"] = [float(f"{x:.9g}") if isinstance(x, float) else x for x in array.ravel().tolist()]
        described.append(output)
    document = {"model_name": model, "model_version": version, "outputs": described}
    head = json.dumps({"id": request.id, **document} if request.id else document).encode()
    return head + b"".join(parts), len(head) if parts else None


def describe_model(spec: TensorSpec) -> dict[str, Any]:
    """Return the description of an input or output tensor for the model's metadata."""
    return {"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": list(spec.shape)}


def _parse_json(text: bytes) -> dict[str, Any]:
    if text.count(b",") > MAX_VALUES or sum(map(text.count, (b"[", b"{", b'"'))) > MAX_MARKS:
        raise InputError(f"the JSON contains more than {MAX_VALUES} values or {MAX_MARKS} lists", hint=_BINARY)
    try:
        fields = parse_json(narrow(text), max_values=None)
    except ValueError as error:
        raise InputError(f"the request is not JSON: {str(error)[:100]}") from error
    if not isinstance(fields, dict):
        raise InputError("the request must be a JSON object")
    return fields


def _outputs(fields: Mapping[str, Any], known: Sequence[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of the requested outputs, and which of them are returned as bytes."""
    entries = fields.get("outputs") or [{"name": name} for name in known]
    if not isinstance(entries, list) or len(entries) > len(known) or not all(isinstance(one, dict) for one in entries):
        raise InputError(f"`outputs` must be a list of objects, each with one of the names {', '.join(known)}")
    names = tuple(str(entry.get("name")) for entry in entries)
    if not set(names) <= set(known):
        asked = ", ".join(name[:40] for name in names)
        raise InputError(f"the model's outputs are {', '.join(known)} (requested: {asked})")
    every = bool(_parameters(fields).get("binary_data_output", False))
    chosen = [name for name, entry in zip(names, entries, strict=True) if _parameters(entry).get("binary_data", every)]
    return names, frozenset(chosen)


def _parameters(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    found = fields.get("parameters") or {}
    if not isinstance(found, dict):
        raise InputError("`parameters` must be an object")
    return found


def _examples(tensor: Mapping[str, Any], rest: memoryview, spec: TensorSpec) -> Sequence[bytes | Array]:
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    wanted = DATATYPES[spec.dtype]
    if datatype not in ("BYTES", wanted):
        raise InputError(f"the input's datatype must be BYTES or {wanted} (got {str(datatype)[:20]!r})")
    if not isinstance(shape, list) or not all(type(size) is int and 0 < size <= MAX_SIZE for size in shape):
        raise InputError(f"the input's shape must be a list of integers from 1 to {MAX_SIZE}")
    if (datatype == "BYTES" and len(shape) not in (1, 2)) or (shape[1:] not in ([], [1]) and datatype == "BYTES"):
        raise InputError(f"the shape of a BYTES input must be [n] (got {shape})")
    if datatype != "BYTES" and not (len(shape) == len(spec.shape) and spec.fits(tuple(shape[1:]))):
        sizes = ", ".join("n" if size == -1 else str(size) for size in spec.shape)
        raise InputError(f"the input's shape must be [{sizes}] (got {shape})")
    if shape[0] > MAX_EXAMPLES:
        raise InputError(
            f"a request may contain at most {MAX_EXAMPLES} examples (got {shape[0]})",
            hint="split it into several requests",
        )
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        values = tensor.get("data")
        if not isinstance(values, list):
            raise InputError("the input has neither `data` nor a `binary_data_size`")
        if datatype != "BYTES":
            return list(_from_values(values, shape, spec))
        if len(values) != shape[0] or not all(isinstance(value, str) for value in values):
            raise InputError(f"the data must be {shape[0]} strings of base64, one for each example")
        try:
            return [base64.b64decode(value, validate=True) for value in values]
        except (binascii.Error, ValueError) as error:
            raise InputError(f"the data is not base64: {error}", hint="send images as base64 or as binary") from error
    if type(size) is not int or size != len(rest):
        raise InputError(f"binary_data_size is {str(size)[:20]}, but the JSON is followed by {len(rest)} bytes")
    return list(_from_elements(rest, shape[0])) if datatype == "BYTES" else list(_from_buffer(rest, shape, spec))


def _from_values(values: Sequence[Any], shape: Sequence[int], spec: TensorSpec) -> Array:
    """Convert nested or flat numbers to an array of the spec's type without rounding or overflow.

    The values' types are checked before numpy converts them: for one long string, numpy would give every element its
    size.
    """
    dtype = np.dtype(spec.dtype)
    try:
        numbers = flatten(values, shape)[0] if values and isinstance(values[0], list) else values
    except ValueError:
        numbers = ()
    if len(numbers) != math.prod(shape) or not set(map(type, numbers)) <= _KINDS.get(dtype.kind, {int, float}):
        raise InputError(
            f"the data must be {math.prod(shape)} numbers, as many as the shape "
            "has; nested like the shape, or as a flat list"
        )
    made = build_array(numbers, shape, dtype)
    if made is None:
        raise InputError(f"the data contains numbers that are not {DATATYPES[spec.dtype]}")
    return made


def _from_elements(content: memoryview, count: int) -> Iterator[bytes]:
    """Return the elements of a binary tensor of type BYTES.

    Each element is stored as its length (4 bytes, little-endian) and its bytes.
    """
    position = 0
    for _ in range(count):
        if position + _HEADER_BYTES > len(content):
            raise InputError(f"the binary data ends before the last of its {count} elements")
        (size,) = struct.unpack_from("<I", content, position)
        position += _HEADER_BYTES + size
        if position > len(content):
            raise InputError("an element of the binary data is longer than the remaining data")
        yield bytes(content[position - size : position])
    if position != len(content):
        raise InputError(f"the last element of the binary data is followed by {len(content) - position} bytes")


def _from_buffer(content: memoryview, shape: Sequence[int], spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise InputError(
            f"a tensor of shape {list(shape)} needs {math.prod(shape) * dtype.itemsize} bytes (got {len(content)})"
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(spec.dtype, copy=False)

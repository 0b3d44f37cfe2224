"""Messages between the camera source and its decoder: a request on the decoder's stdin, and messages on its stdout.

The request is one line of JSON, so that no other user of the machine sees a password in the list of processes. A
message is two lengths, a JSON object, and the bytes of an image. The parent checks all of it, because a decoder that
read hostile data may write anything; so it isn't pickled.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Literal, get_args, get_type_hints

HEADER = struct.Struct("<II")
"""Lengths of the JSON object and of the image, bytes."""
MAX_JSON_BYTES = 65_536

DropCause = Literal["late", "too_large", "unreadable"]
"""Those causes of `eaves.sources.context` for which a decoder or its parent drops frames."""
EndCode = Literal[
    "unreachable",
    "refused_login",
    "untrusted",
    "not_found",
    "no_video",
    "unsupported",
    "broken",
    "missing_library",
    "finished",
    "missing",
    "silent",
    "crashed",
    "credentials",
    "stopping",
]
"""Reason why a stream ends. `unreachable`: no connection. `refused_login`: wrong user name or password. `untrusted`:
the server's certificate is not of a trusted authority or of another name. `not_found`: the server has no such stream,
or there is no such file or device. `no_video`: the stream has no video. `unsupported`: a codec or protocol that can't
be read. `broken`: the stream ended or its data can't be read. `missing_library`: PyAV can't be loaded. `finished`: a
file was read to its end. The rest are reasons that the parent finds."""


class WireError(Exception):
    """A decoder wrote something that isn't a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What a decoder has to read.

    Attributes:
        url: Address of the stream with its credentials, or the path of a file or device.
        transport: Transport of RTSP: `tcp` or `udp`.
        every_s: Minimum time between two frames, seconds; 0 for every key frame.
        max_bytes: Maximum size of a JPEG image, bytes; larger ones are dropped in the decoder.
        max_memory_bytes: Maximum memory that the decoder may allocate, bytes.
        connect_timeout_s: Time limit of the connection, seconds; the parent has a limit of its own.
        authorities: Path of a PEM file with the certificate authorities to trust; empty to trust none.
        certificate: Path of a client certificate; empty for none.
        key: Path of the client certificate's key; empty for none.
        paced: Whether a file is read at its own speed instead of as fast as possible.
    """

    url: str = field(repr=False)
    transport: str = "tcp"
    every_s: float = 0.0
    max_bytes: int = 20_000_000
    max_memory_bytes: int = 500_000_000
    connect_timeout_s: float = 5.0
    authorities: str = ""
    certificate: str = ""
    key: str = ""
    paced: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a decoder found in a stream; sent once it is open, and again when the size or the way of decoding changes.

    Attributes:
        codec: Name of the codec, such as `h264`.
        width: Width of the frames, pixels.
        height: Height of the frames, pixels.
        rate: Frames per second that the stream declares; 0 when it declares none.
        decoding: `none`: JPEG images are passed on as they are. `key`: only key frames are decoded. `all`: all frames
            are decoded, because key frames come less often than the request asks for.
    """

    codec: str
    width: int
    height: int
    rate: float = 0.0
    decoding: Literal["none", "key", "all"] = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFrame:
    """One JPEG image of a stream.

    Attributes:
        data: The whole JPEG image.
        number: Number of the frame since the decoder started, from 0.
        captured_at_ns: Capture time, nanoseconds since 1970.
    """

    data: bytes
    number: int
    captured_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Data arrived, though perhaps no frame of it is sent; at most one such message a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedFrames:
    """Number of frames that were dropped, and what was wrong with the last one; empty for `late` and `rate`."""

    cause: DropCause
    count: int = 1
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The decoder's last message: why it ends, and a sentence that may contain credentials."""

    code: EndCode
    message: str = ""


Message = Opened | StreamFrame | Alive | DroppedFrames | Ended
_FIELDS: Mapping[type[Message], Mapping[str, Any]] = {kind: get_type_hints(kind) for kind in get_args(Message)}
_KINDS = {kind.__name__: kind for kind in _FIELDS}


def build_request(request: StreamRequest) -> bytes:
    """Return the bytes of a request, which end with a newline."""
    return json.dumps(asdict(request)).encode() + b"\n"


def parse_request(line: bytes) -> StreamRequest:
    """Parse the request that the parent wrote."""
    return StreamRequest(**json.loads(line))


def build_message(message: Message) -> bytes:
    """Return the bytes of a message."""
    values: dict[str, Any] = {"kind": type(message).__name__, **asdict(message)}
    data: bytes = values.pop("data", b"")
    text = json.dumps(values).encode()
    return HEADER.pack(len(text), len(data)) + text + data


def read_message(stream: IO[bytes], max_bytes: int) -> Message | None:
    """Read one message from a buffered pipe, with an image of at most `max_bytes`; None at the end of the stream.

    Raises:
        WireError: When the bytes are no message, or the stream ends within one.
    """
    header = stream.read(HEADER.size)
    if not header:
        return None
    text_bytes, data_bytes = HEADER.unpack(_check_length(header, HEADER.size))
    if text_bytes > MAX_JSON_BYTES or data_bytes > max_bytes:
        raise WireError(f"a message of the decoder has {text_bytes + data_bytes} bytes")
    text = _check_length(stream.read(text_bytes), text_bytes)
    data = _check_length(stream.read(data_bytes), data_bytes)
    try:
        values = json.loads(text)
        kind = _KINDS[values.pop("kind")]
        if data or kind is StreamFrame:
            values["data"] = data
        if all(_fits(value, _FIELDS[kind][name]) for name, value in values.items()):
            return kind(**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError("a message of the decoder can't be read") from error
    raise WireError("a message of the decoder has a wrong value")


def _check_length(data: bytes, count: int) -> bytes:
    if len(data) < count:
        raise WireError("the decoder's output ends within a message")
    return data


def _fits(value: object, wanted: Any) -> bool:
    """Return whether a value has a field's type; numbers are not negative, and small enough for a float."""
    if wanted is int:
        return type(value) is int and 0 <= value < 2**63
    if wanted is float:
        return type(value) in {int, float} and 0 <= value < 2**63  # type: ignore[operator]
    return isinstance(value, wanted) if isinstance(wanted, type) else value in get_args(wanted)

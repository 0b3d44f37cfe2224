"""Messages between the camera source and its decoder: a request on the decoder's stdin, and messages on its stdout.

The request is one JSON object, so that no other user of the machine sees a password in the list of processes. Each
message is a header and a body. The header is the message's kind, the length of its body, and three numbers that only
frames and alive messages use. The parent checks all of it, because a decoder that read hostile data may write anything.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import IO, Any, Literal, get_args

HEADER = struct.Struct("<cIqQq")
"""Kind, length of the body in bytes, capture time in nanoseconds since 1970, number, and the monotonic time in
nanoseconds at which the data arrived."""
MAX_JSON_BYTES = 65_536
"""Maximum length of the body of a message that isn't a frame, bytes."""

FailureCode = Literal[
    "unreachable", "refused_login", "untrusted", "not_found", "no_video", "unsupported", "broken", "missing_library"
]
"""Reason why a decoder ends. `unreachable`: no connection. `refused_login`: wrong user name or password. `untrusted`:
the server's certificate is not of a trusted authority or of another name. `not_found`: the server has no such stream,
or there is no such file or device. `no_video`: the stream has no video. `unsupported`: a codec or protocol that can't
be read. `broken`: the stream ended or its data can't be read. `missing_library`: PyAV is not installed."""


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
        authorities: Path of a PEM file with the certificate authorities to trust; empty for the system's.
        certificate: Path of a client certificate; empty for none.
        key: Path of the client certificate's key; empty for none.
        quality: Quality of the encoded JPEG images, 1 to 95.
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
    quality: int = 90
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
        key_interval_s: Seconds between the last two key frames; 0 while it isn't known.
    """

    codec: str
    width: int
    height: int
    rate: float = 0.0
    decoding: Literal["none", "key", "all"] = "key"
    key_interval_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFrame:
    """One JPEG image of a stream.

    Attributes:
        data: The whole JPEG image.
        number: Number of the frame since the decoder started, from 0.
        captured_at_ns: Capture time, nanoseconds since 1970.
        arrived_ns: Monotonic time at which the frame's last byte arrived, nanoseconds.
    """

    data: bytes
    number: int
    captured_at_ns: int
    arrived_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Data arrived, though perhaps no frame of it is sent; at most one such message a second."""

    arrived_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedFrames:
    """Frames that the decoder dropped.

    Attributes:
        cause: Cause that they are counted under, one of `eaves.sources.frame.Cause`.
        count: Number of frames.
        reason: What was wrong with the last one; empty for `late` and `rate`.
    """

    cause: str
    count: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The decoder can't continue and ends after this message.

    Attributes:
        code: Reason, for the parent's decision when to try again.
        message: The reason as a sentence; it may contain credentials.
    """

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A file was read to its end; the decoder ends after this message."""

    frames: int


Message = Opened | StreamFrame | Alive | DroppedFrames | Failed | Ended
_JSON: Mapping[bytes, type[Opened | DroppedFrames | Failed | Ended]] = {
    b"O": Opened,
    b"D": DroppedFrames,
    b"X": Failed,
    b"E": Ended,
}
_KINDS = {kind: letter for letter, kind in _JSON.items()}
_CHOICES: Mapping[str, tuple[str, ...]] = {"code": get_args(FailureCode), "decoding": ("none", "key", "all")}


def build_request(request: StreamRequest) -> bytes:
    """Return the bytes of a request, which end with a newline."""
    return json.dumps(asdict(request)).encode() + b"\n"


def parse_request(line: bytes) -> StreamRequest:
    """Parse the request that the parent wrote."""
    return StreamRequest(**json.loads(line))


def build_message(message: Message) -> bytes:
    """Return the bytes of a message."""
    if isinstance(message, StreamFrame):
        header = HEADER.pack(b"F", len(message.data), message.captured_at_ns, message.number, message.arrived_ns)
        return header + message.data
    if isinstance(message, Alive):
        return HEADER.pack(b"A", 0, 0, 0, message.arrived_ns)
    body = json.dumps(asdict(message)).encode()
    return HEADER.pack(_KINDS[type(message)], len(body), 0, 0, 0) + body


def read_message(stream: IO[bytes], max_bytes: int) -> Message | None:
    """Read one message; return None at the end of the stream.

    Args:
        stream: Pipe from the decoder.
        max_bytes: Maximum size of a frame, bytes.

    Raises:
        WireError: When the bytes are no message, or the stream ends within one.
    """
    header = _read_exactly(stream.read, HEADER.size)
    if not header:
        return None
    if len(header) < HEADER.size:
        raise WireError("the decoder's output ends within a message")
    kind, length, captured_at_ns, number, arrived_ns = HEADER.unpack(header)
    if length > (max_bytes if kind == b"F" else MAX_JSON_BYTES):
        raise WireError(f"a message of the decoder has {length} bytes")
    body = _read_exactly(stream.read, length)
    if len(body) < length:
        raise WireError("the decoder's output ends within a message")
    if kind == b"F":
        if captured_at_ns < 0:
            raise WireError("a frame of the decoder was captured before 1970")
        return StreamFrame(data=body, number=number, captured_at_ns=captured_at_ns, arrived_ns=arrived_ns)
    if kind == b"A":
        return Alive(arrived_ns=arrived_ns)
    if kind not in _JSON:
        raise WireError("the decoder's output has an unknown kind of message")
    return _parse_body(_JSON[kind], body)


def _parse_body(
    kind: type[Opened | DroppedFrames | Failed | Ended], body: bytes
) -> Opened | DroppedFrames | Failed | Ended:
    try:
        values = json.loads(body)
        known = {field.name for field in fields(kind)}
        if not isinstance(values, dict) or not known >= values.keys():
            raise WireError("a message of the decoder has unknown values")
        arguments: dict[str, Any] = values
        if not all(_is_valid(name, value) for name, value in arguments.items()):
            raise WireError("a message of the decoder has a wrong value")
        return kind(**arguments)
    except (ValueError, TypeError, RecursionError) as error:
        raise WireError("a message of the decoder can't be read") from error


def _is_valid(name: str, value: object) -> bool:
    """Return whether a value of a message has the type that its name stands for."""
    if name in {"width", "height", "count", "frames"}:
        return type(value) is int and 0 <= value < 2**63
    if name in {"rate", "key_interval_s"}:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return isinstance(value, str) and value in _CHOICES.get(name, (value,))


def _read_exactly(read: Callable[[int], bytes], count: int) -> bytes:
    """Read `count` bytes; fewer at the end of the stream."""
    first = read(count)
    if len(first) in (0, count):
        return first  # a frame isn't copied
    chunks = bytearray(first)
    while len(chunks) < count:
        chunk = read(count - len(chunks))
        if not chunk:
            break
        chunks += chunk
    return bytes(chunks)

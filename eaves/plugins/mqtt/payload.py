"""Received messages: image, sender's id and time in raw data, base64 in JSON, CloudEvents; and those that wait.

Source: CloudEvents 1.0.2, bindings/mqtt-protocol-binding.md: a content type that begins with `application/cloudevents`
is structured mode; user properties named as attributes are binary mode, which MQTT 3.1.1 doesn't have.
"""

from __future__ import annotations

import binascii
import itertools
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from eaves.base.clock import Clock, parse_timestamp
from eaves.base.strict_json import parse_json
from eaves.errors import EventError, UnsupportedContentError
from eaves.events import REPLY_TYPES, STRUCTURED, Event, build_event, decode, is_json
from eaves.plugins.mqtt.message import Message
from eaves.sources.context import Cause, Frame

if TYPE_CHECKING:
    from eaves.plugins.mqtt.kind import MqttSourceSettings

MAX_ID = 1024
"""Maximum length of a sender's id that is copied into an event, characters. A longer id is still used to recognise a
repeated message."""
MAX_SECONDS = 100_000_000_000
"""Limit above which a number in a message is a time in milliseconds and not in seconds. It is the year 5138 in seconds
and the year 1973 in milliseconds."""
NO_POINTER = "a message is JSON, but image_at is not set; set it to the place of the image in the JSON"


class UnusableError(Exception):
    """Error of a message without a usable image.

    Args:
        cause: Cause that the message is counted under.
        reason: Sentence for the log, without any content of the payload; empty when nothing is wrong.
    """

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


def read_message(message: Message, settings: MqttSourceSettings) -> Frame:
    """Extract the image of a message, and what the sender says about it; `position` is the sender's id of the message.

    Raises:
        UnusableError: When the message contains no image.
    """
    event = _read_event(message)
    if event is not None:
        return _read_event_data(event, settings)
    sender_id = _find_property(message, settings.id_property)
    if settings.image_at and _is_object(message.payload):
        return _read_json(message.payload, settings, sender_id)
    if _is_object(message.payload) and not _image_type(message.content_type):
        raise UnusableError("unsupported", NO_POINTER)
    return Frame(
        data=message.payload,
        content_type=_image_type(message.content_type),
        position=sender_id,
        extensions=_build_sender(sender_id),
    )


def _read_event(message: Message) -> Event | None:
    """Return the CloudEvent in a message; None when the message isn't one."""
    try:
        properties = dict(message.user_properties)
        if message.content_type.lower().startswith(STRUCTURED):
            return decode({"content-type": message.content_type}, message.payload)
        if "specversion" in properties:
            attributes = {name: value for name, value in properties.items() if _is_attribute(name)}
            if message.content_type:
                attributes["datacontenttype"] = message.content_type
            return build_event(attributes, message.payload)
        if _is_object(message.payload) and b'"specversion"' in message.payload:
            return decode({"content-type": f"{STRUCTURED}+json"}, message.payload)
    except UnsupportedContentError as error:
        raise UnusableError("unsupported", f"a CloudEvent has an unsupported format ({str(error)[:200]})") from error
    except EventError as error:
        raise UnusableError("unreadable", f"a CloudEvent can't be read ({str(error)[:200]})") from error
    return None


def _read_event_data(event: Event, settings: MqttSourceSettings) -> Frame:
    if event.type in REPLY_TYPES:
        raise UnusableError("unsupported", "")  # predictions arrive on topics that a wildcard subscribes to
    traced = {name: value for name, value in event.extensions.items() if name in ("traceparent", "tracestate")}
    extensions = {**traced, "senderid": event.id, "sendersource": event.source}
    sender_id = f"{event.source}\0{event.id}"
    data, content_type = event.data, event.datacontenttype or ""
    captured_at_ns = _parse_time(event.time)
    if settings.image_at and is_json(content_type) and _is_object(data):
        inner = _read_json(data, settings, sender_id)
        data, content_type = inner.data, inner.content_type
        captured_at_ns = inner.captured_at_ns if captured_at_ns is None else captured_at_ns
    elif is_json(content_type) and _is_object(data):
        raise UnusableError("unsupported", NO_POINTER)
    if not data:
        raise UnusableError("unsupported", "a CloudEvent has no data")
    return Frame(
        data=data,
        content_type=_image_type(content_type),
        position=sender_id,
        captured_at_ns=captured_at_ns,
        camera=event.extensions.get("partitionkey", ""),
        extensions=extensions,
    )


def _read_json(payload: bytes, settings: MqttSourceSettings, sender_id: str) -> Frame:
    try:
        document = parse_json(payload)
    except ValueError as error:
        raise UnusableError("unreadable", f"a message is not JSON ({str(error)[:200]})") from error
    text = find_value(document, settings.image_at)
    if not isinstance(text, str):
        raise UnusableError("unsupported", f"a message has no string at {settings.image_at}")
    found = sender_id or (_spell_id(find_value(document, settings.id_at)) if settings.id_at else "")
    data = _decode_base64(text, settings.image_at)
    return Frame(
        data=data,
        position=found,
        captured_at_ns=_parse_time(find_value(document, settings.time_at)) if settings.time_at else None,
        extensions=_build_sender(found),
    )


def _decode_base64(text: str, place: str) -> bytes:
    if text.startswith("data:"):  # a data URL (RFC 2397), as browsers write an image
        text = text.partition(",")[2]
    text = text.replace("\r", "").replace("\n", "")  # makes no copy when there is none
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # binascii.Error, or a text that isn't ASCII
        raise UnusableError("unreadable", f"the string at {place} is not base64 ({str(error)[:200]})") from error


def _build_sender(sender_id: str) -> dict[str, str]:
    return {"senderid": sender_id} if sender_id.isprintable() and 0 < len(sender_id) <= MAX_ID else {}


def _find_property(message: Message, name: str) -> str:
    return next((value for key, value in message.user_properties if name and key == name), "")


def _spell_id(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _parse_time(value: object) -> int | None:
    """Return a time in nanoseconds since 1970; None for a value that is no time.

    A text is an RFC 3339 time, and a number is in seconds or milliseconds since 1970.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str):
        with suppress(ValueError):
            return int(parse_timestamp(value).timestamp() * 1e6) * 1000
    try:
        number = Decimal(value)
        if not 0 <= number < MAX_SECONDS * 1000:
            return None
    except ArithmeticError:  # not a number, or NaN
        return None
    return int(number * (1_000_000_000 if number < MAX_SECONDS else 1_000_000))


def _image_type(content_type: str) -> str:
    plain = content_type.isascii() and content_type.isprintable()
    return content_type if plain and content_type.lower().startswith("image/") else ""


def _is_attribute(name: str) -> bool:
    return name.isascii() and name.isalnum() and name == name.lower()


def _is_object(payload: bytes) -> bool:
    return payload[:64].lstrip()[:1] == b"{"


def find_value(document: Any, pointer: str) -> Any:
    """Return the value at a JSON Pointer in a document; None when there is no value.

    Source: RFC 6901, sections 3 and 4.
    """
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdecimal():
            document = document[int(name)] if int(name) < len(document) else None
        else:
            return None
    return document


OVERHEAD_BYTES = 2048
"""Memory that a message takes in addition to its payload, bytes."""


@dataclass(slots=True)
class HeldMessage:
    """A message that was received and is not stored or acknowledged yet.

    Attributes:
        message: Last copy of the message; on a new connection the acknowledgement must refer to that copy.
        digest: SHA-256 of the message's payload.
        wanted: Whether the message becomes an event; otherwise it only waits to be acknowledged in the order of
            arrival.
        number: Number of the arrival; the same when the broker repeats a message that was not acknowledged.
    """

    message: Message
    digest: bytes
    wanted: bool = True
    number: str = ""

    @property
    def cost_bytes(self) -> int:
        """Memory that the message takes in the queue, bytes."""
        return len(self.message.payload) + OVERHEAD_BYTES


class Inbox:
    """A queue of received messages with bounded memory, which recognises a message that the broker repeats.

    Args:
        max_bytes: Maximum memory of the queue, bytes; one message always fits.
        clock: Wall clock and monotonic clock.
    """

    def __init__(self, max_bytes: int, *, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._held: deque[HeldMessage] = deque()
        self._bytes = 0
        self._run = secrets.token_hex(8)  # not the time, because a device without a battery starts in 1970 each time
        self._counter = itertools.count(1)
        self._open: dict[int, tuple[str, bytes, str]] = {}  # by the packet id, of which there are 65,535

    def __len__(self) -> int:
        return len(self._held)

    def put(self, new: HeldMessage) -> bool:
        """Give a message its number and add it, or replace the copy that waits; return False when there is no room."""
        with self._changed:
            new.number = self._find_number(new.message, new.digest)
            for other in self._held:
                if other.number == new.number:
                    other.message = new.message
                    return True
            if self._held and self._bytes + new.cost_bytes > self._max_bytes:
                return False
            self._held.append(new)
            self._bytes += new.cost_bytes
            self._changed.notify_all()
            return True

    def peek(self, timeout_s: float) -> HeldMessage | None:
        """Return the oldest message and leave it in the queue; None after `timeout_s` seconds or after `wake`."""
        with self._changed:
            if not self._held:
                self._clock.wait(self._changed, timeout_s)
            return self._held[0] if self._held else None

    def remove(self, held: HeldMessage) -> Message:
        """Remove the oldest message after it was stored; return its last copy."""
        with self._changed:
            self._held.popleft()
            self._bytes -= held.cost_bytes
            return held.message

    def close(self, held: HeldMessage) -> None:
        """Forget a message that was acknowledged: its packet id may belong to another message from now on."""
        with self._changed:
            if self._open.get(held.message.packet_id, ("", b"", ""))[2] == held.number:
                del self._open[held.message.packet_id]

    def forget(self) -> None:
        """Forget all packet ids, because the broker has lost the session."""
        with self._changed:
            self._open.clear()

    def wake(self) -> None:
        """Make a waiting `peek` return None."""
        with self._changed:
            self._changed.notify_all()

    def _find_number(self, message: Message, digest: bytes) -> str:
        number = f"{self._run}-{next(self._counter)}"
        if message.qos == 0:
            return number
        topic, known_digest, known = self._open.get(message.packet_id, ("", b"", ""))
        if known and message.dup and (topic, known_digest) == (message.topic, digest):
            return known
        self._open[message.packet_id] = message.topic, digest, number
        return number

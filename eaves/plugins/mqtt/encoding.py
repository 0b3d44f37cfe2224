"""Encoding of an event as an MQTT message: topic, payload and properties, by the CloudEvents binding or as plain JSON.

Source: CloudEvents 1.0.2, bindings/mqtt-protocol-binding.md. In binary mode (section 3.1, MQTT 5 only) the payload is
the data, the content type its media type, and each attribute a user property of the same name. In structured mode (3.2)
the payload is the whole event as JSON; MQTT 3.1.1 can't say that a payload is in structured mode.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from eaves.base.clock import SYSTEM, Clock, parse_timestamp
from eaves.errors import EventError
from eaves.events import Event, encode_structured, is_json
from eaves.plugins.mqtt.message import Publication

PACKET_BYTES = 64
"""Maximum size in bytes of everything in a PUBLISH packet except its topic, its payload and the texts of its
properties.

Source: MQTT 5.0, section 3.3: fixed header (5), lengths and identifiers (4), property length (4), content type (3), and
room to spare; a user property has 5 bytes besides its texts.
"""
USER_PROPERTY_BYTES = 5


def packet_bytes(message: Publication) -> int:
    """Return the maximum size of a message's packet in bytes, to compare with a broker's Maximum Packet Size."""
    texts = [message.topic, message.content_type, *(text for pair in message.user_properties for text in pair)]
    fixed = PACKET_BYTES + USER_PROPERTY_BYTES * len(message.user_properties)
    return fixed + sum(len(text.encode()) for text in texts) + len(message.payload)


def build_cloudevent(event: Event, topic: str, *, version5: bool, retain: bool) -> Publication:
    """Return an event in binary mode for a broker with MQTT 5, in structured mode otherwise.

    Raises:
        EventError: When the event can't be encoded; a retry would fail too.
    """
    if not version5:
        return Publication(topic=topic, payload=encode_structured(event)[1], retain=retain)
    attributes = {name: value for name, value in event.attributes().items() if name != "datacontenttype"}
    _check_text(event, attributes)
    return Publication(
        topic=topic,
        payload=event.data,
        retain=retain,
        content_type=event.datacontenttype or "",
        user_properties=tuple(attributes.items()),
    )


def build_json(event: Event, topic: str, *, version5: bool, retain: bool) -> Publication:
    """Return an event as plain JSON for receivers that don't know CloudEvents.

    When the data is a JSON object, the event's `id`, `camera`, `subject`, `time`, `label` and `confidence` are added to
    it without replacing any of its members. Data of any other kind is published unchanged.

    Raises:
        EventError: When the event can't be encoded; a retry would fail too.
    """
    content_type = event.datacontenttype
    payload = event.data
    if is_json(content_type) and isinstance(members := parse_object(event), dict):
        beside = {
            "id": event.id,
            "camera": event.extensions.get("partitionkey"),
            "subject": event.subject,
            "time": event.time,
            "label": event.extensions.get("label"),
            "confidence": event.extensions.get("confidence"),
        }
        named = {name: value for name, value in beside.items() if value is not None}
        payload = _encode(event, {**named, **members})
        content_type = content_type or "application/json"
    _check_text(event, {"datacontenttype": content_type or ""})
    return Publication(
        topic=topic, payload=payload, retain=retain, content_type=(content_type or "") if version5 else ""
    )


def parse_object(event: Event) -> dict[str, Any] | None:
    """Return the event's data when it is a JSON object; None otherwise."""
    try:
        value = event.json()
    except EventError:
        return None
    return value if isinstance(value, dict) else None


def _encode(event: Event, members: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(members, allow_nan=False).encode()
    except ValueError as error:  # for example 1e999 in the event's data
        raise EventError(f"the data of event {event.id[:64]!r} contain a number that JSON can't represent") from error


def _check_text(event: Event, attributes: Mapping[str, str]) -> None:
    """Raise EventError for text that MQTT can't carry.

    Source: MQTT 5.0, section 1.5.4: UTF-8 of at most 65,535 bytes without U+0000 and surrogates.
    """
    for name, value in attributes.items():
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise EventError(
                f"attribute {name} of event {event.id[:64]!r} contains an unpaired surrogate, which UTF-8 can't encode"
            ) from error
        if size > 65_535 or "\0" in value:
            raise EventError(
                f"attribute {name} of event {event.id[:64]!r} can't be sent as an MQTT string ({size} bytes)"
            )


LATE_S = 60.0
"""Time in seconds after the newest event's arrival during which an older event doesn't replace it. Within this time
deliveries may overtake each other, especially after the broker was unreachable. After it, an older event means that the
camera's clock was set back or that its images are replayed, and does replace the newest one.
"""
MAX_KEYS = 1_000
"""Maximum number of keys that are remembered, about 200 bytes each; the key used longest ago is forgotten first."""


class NewestEvents:
    """The newest event of each key, such as a topic or a camera. Not thread-safe; its caller holds a lock.

    Args:
        clock: Clock for monotonic time.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def accept(self, key: str, event: Event) -> bool:
        """Remember an event and return True, unless a newer event of its key came within the last minute."""
        time = _parse_time(event)
        now = self._clock.monotonic()
        known = self._known.get(key)
        if known is not None and time is not None and time < known[0] and now - known[1] <= LATE_S:
            return False
        if time is not None:
            self._known[key] = time, now
            self._known.move_to_end(key)
            if len(self._known) > MAX_KEYS:
                self._known.popitem(last=False)
        return True


def _parse_time(event: Event) -> float | None:
    """Return the time of an event in Unix seconds; None when it has none."""
    try:
        return parse_timestamp(event.time).timestamp() if event.time else None
    except ValueError:
        return None


MISSING = "unknown"
"""Value of an attribute that an event doesn't have; the trigger's filter decides which events are published."""
REPLACEMENT = "_"
PATHS = frozenset({"subject", "source"})
"""Attributes whose slashes separate levels of the topic: `subject`, a relative path or a topic, and `source`, which is
`/eaves/SITE/NAME`. In any other attribute a slash becomes `_`."""
MAX_BYTES = 1024
"""Maximum size of one attribute's value in a topic, in bytes. MQTT allows 65,535 bytes for a whole topic, but many
brokers allow fewer.
"""
MAX_LEVELS = 20
"""Maximum number of levels in one attribute's value; mosquitto closes the connection at a topic with more than 200
levels.
"""
MAX_PLACEHOLDERS = 8

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[a-z0-9]{1,64}")
_FORBIDDEN = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def find_topic_fault(template: str) -> str:
    """Return why a topic template can't be used; empty when it can be used."""
    plain = _PLACEHOLDER.sub("", template)
    names = _PLACEHOLDER.findall(template)
    if not template:
        return "is empty; write the topic after the host: mqtt://HOST/TOPIC"
    if "{" in plain or "}" in plain:
        return "has an opening or closing brace without its counterpart"
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        return (
            f"{{{wrong[0]}}} is not the name of an event attribute; write lower-case letters "
            f"and digits, for example {{label}}"
        )
    if len(names) > MAX_PLACEHOLDERS:
        return f"has {len(names)} attributes in braces; at most {MAX_PLACEHOLDERS} are allowed"
    if found := _FORBIDDEN.search(plain):
        return f"contains {found[0]!r}, which MQTT forbids in the topic of a message"
    if template.startswith("$"):
        return "must not begin with $: these topics are reserved for the broker"
    if len(plain.encode()) > MAX_BYTES:
        return f"has more than {MAX_BYTES} bytes"
    return ""


def build_topic(template: str, event: Event) -> str:
    """Fill in a template that `find_topic_fault` accepts.

    A character that no topic may hold (`+`, `#`, control characters) becomes `_`. A slash becomes `_` too, except in
    `subject` and `source`, so that a label can't add levels. Values are cut at 1,024 bytes. A `$` at the topic's
    beginning becomes `_`. An attribute that the event doesn't have becomes `unknown`.
    """
    attributes = event.attributes()
    topic = _PLACEHOLDER.sub(lambda found: _clean(found[1], attributes.get(found[1], "")), template)
    return REPLACEMENT + topic[1:] if topic.startswith("$") else topic


def _clean(name: str, value: str) -> str:
    text = _FORBIDDEN.sub(REPLACEMENT, value)
    text = text.encode()[:MAX_BYTES].decode(errors="ignore")
    if name not in PATHS:
        return text.replace("/", REPLACEMENT) or MISSING
    levels = [level for level in text.split("/") if level]
    return "/".join([*levels[: MAX_LEVELS - 1], *filter(None, [REPLACEMENT.join(levels[MAX_LEVELS - 1 :])])]) or MISSING

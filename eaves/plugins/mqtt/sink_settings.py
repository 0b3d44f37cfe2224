"""Settings of a trigger that publishes to MQTT."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eaves.config import setting
from eaves.events import Event

CLOUDEVENTS, JSON = "cloudevents", "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTriggerSettings:
    """Settings of a trigger's publishing: the section `mqtt` of a trigger with an mqtt:// or mqtts:// url."""

    format: str = setting(
        CLOUDEVENTS,
        "Content of a message. `cloudevents`: the event's data, with its attributes as MQTT "
        "user properties (the whole event as JSON if the broker speaks only MQTT 3.1.1, which "
        "has no user properties). `json`: the event's data with the event's id, camera and "
        "time added, for receivers that don't read CloudEvents.",
        choices=(CLOUDEVENTS, JSON),
    )
    retain: bool = setting(
        False, "Retain the last message of each topic on the broker, for receivers that subscribe later."
    )
    home_assistant: bool = setting(
        False,
        "Also publish Home Assistant's discovery messages, so that the label and confidence of "
        "each camera appear there as sensors. Only one trigger of an app may set this.",
    )
    discovery_prefix: str = setting(
        "homeassistant",
        "First part of the discovery topics. The default is Home Assistant's "
        "own; change it if the prefix was changed there.",
    )
    credentials: Path | None = setting(
        None,
        "Folder with those of the files username, password, tls.crt, tls.key and ca.crt that "
        "the broker needs. The files are read at each connection.",
    )
    version: str = setting(
        "auto",
        "MQTT version. `auto` tries 5 first, then 3.1.1 if the broker refuses it.",
        choices=("auto", "5", "3.1.1"),
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if fault := find_topic_fault(self.discovery_prefix):
            yield "discovery_prefix", fault
        elif "{" in self.discovery_prefix:
            yield "discovery_prefix", f"must be a topic without attributes in braces (got {self.discovery_prefix!r})"


SCHEMES = ("mqtt://", "mqtts://")


def is_mqtt(url: str) -> bool:
    """Return whether a trigger with this url publishes to MQTT."""
    return url.startswith(SCHEMES)


def find_url_fault(url: str) -> str:
    """Return why an mqtt:// or mqtts:// url can't be used; empty when it can be used.

    The text quotes no part of the url: when a password contains `/`, `#` or `?`, any part may belong to the password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its message may quote a password
        return "must be mqtt://HOST[:PORT]/TOPIC, with a port from 1 to 65535"
    if not host:
        return "must name a host: mqtt://HOST[:PORT]/TOPIC"
    if port == 0:
        return "must have a port from 1 to 65535, or no port"
    if parts.fragment or url.endswith("#"):
        return "must not contain '#': MQTT forbids it in the topic of a message; in a password, write %23"
    if parts.query or url.endswith("?"):
        return "must not contain '?' after the topic; in a password, write %3F"
    fault = find_topic_fault(topic_template(url))
    return f"topic {fault}" if fault else ""


def topic_template(url: str) -> str:
    """Return the topic template in a url, percent-decoded: the part after the slash that follows the host."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def broker_url(url: str) -> str:
    """Return the broker part of a url: scheme, user, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


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


def find_names(template: str) -> list[str]:
    """Return the attributes that a topic template names, in their order."""
    return _PLACEHOLDER.findall(template)


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

"""A trigger's `mqtt://` or `mqtts://` url: which broker, and under which topic."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from eaves.delivery.mqtt.topic import find_topic_fault

SCHEMES = ("mqtt://", "mqtts://")


def is_mqtt(url: str) -> bool:
    """Whether a trigger with this url publishes to MQTT."""
    return url.startswith(SCHEMES)


def find_url_fault(url: str) -> str:
    """Why an mqtt:// or mqtts:// url can't be used; empty when it can.

    It quotes nothing of the url: where a password holds `/`, `#` or `?`, any part may be a part of it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its message may quote a password
        return "must be mqtt://HOST[:PORT]/TOPIC, with a port from 1 to 65535"
    if not host:
        return "must name a host, mqtt://HOST[:PORT]/TOPIC"
    if port == 0:
        return "must name a port from 1 to 65535, or none"
    if parts.fragment or url.endswith("#"):
        return "must have no '#': MQTT doesn't allow it in the topic of a message, and a password has %23 instead"
    if parts.query or url.endswith("?"):
        return "must have no '?' after the topic; a password has %3F instead"
    fault = find_topic_fault(topic_template(url))
    return f"its topic {fault}" if fault else ""


def topic_template(url: str) -> str:
    """The topic part of a url, percent-decoded: what follows the slash after the host."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def broker_url(url: str) -> str:
    """The broker part of a url: scheme, user, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

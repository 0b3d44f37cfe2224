"""A trigger's `mqtt://` or `mqtts://` url, which names a broker and a topic template."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from eaves.delivery.mqtt.topic import find_topic_fault

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

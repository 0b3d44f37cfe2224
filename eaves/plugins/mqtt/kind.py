"""The kind of source `mqtt`: images from the topics of a broker; its settings and the function that runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any
from urllib.parse import unquote

from eaves.config import setting
from eaves.plugins.mqtt.message import PORTS, WEEK_S, find_filter_fault, parse_address
from eaves.reachability import TLS
from eaves.sources.context import SourceContext
from eaves.sources.kind import FailedStep, SourceKind

GUEST_SESSION_S = 60
"""Time for which a broker keeps the session of a guest, seconds; the minimum of the setting."""
_SHARED = re.compile(r"\$share/[^/]+/")


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSourceSettings:
    """Settings of a source that takes images from the topics of an MQTT broker."""

    url: str = setting(MISSING, "Address of the broker: mqtt://HOST[:1883], or mqtts://HOST[:8883] with TLS.")
    topics: tuple[str, ...] = setting(MISSING, "Topics to subscribe to, with QoS 1. The wildcards + and # are allowed.")
    client_id: str = setting(
        "",
        "MQTT client id, under which the broker keeps messages while the agent is away. No "
        "other client of the broker may have the same id. The default is empty: "
        "eaves-SITE-NAME-ID is used, where ID is random and stored beside the spool.",
    )
    version: str = setting(
        "auto",
        "MQTT version. `auto`, the default, uses 5, or 3.1.1 if the broker doesn't support 5.",
        choices=("auto", "5", "3.1.1"),
    )
    image_at: str = setting("", "Place of the image in the JSON, as a JSON Pointer such as /image/data (RFC 6901).")
    id_at: str = setting("", "Place of the sender's message id in the JSON, as a JSON Pointer; empty if there is none.")
    id_property: str = setting(
        "",
        "MQTT 5 user property that contains the sender's message id; empty if there is none. "
        "If this is set, only MQTT 5 is used.",
    )
    time_at: str = setting(
        "",
        "Place of the capture time in the JSON, as a JSON Pointer to an RFC 3339 timestamp, or "
        "to seconds or milliseconds since 1970. If it is empty, or the value is missing, the "
        "time of arrival is used.",
    )
    camera_level: int = setting(
        0,
        "Level of the topic that contains the camera's name, from 1, or from -1 for the last "
        "level. The default, 0, uses the source's name as the camera.",
        minimum=-64,
        maximum=64,
    )
    in_flight: int = setting(
        8,
        "Maximum number of unacknowledged messages from the broker (Receive Maximum of MQTT "
        "5). They are held in memory, and as many may arrive twice after a lost connection; a "
        "larger value is faster over a slow link.",
        minimum=1,
        maximum=1000,
    )
    session_expiry_s: int = setting(
        WEEK_S,
        "Seconds that the broker keeps messages while the agent is away (MQTT 5). The default "
        "is 7 days. Brokers have limits of their own, for example mosquitto's 1,000 messages "
        "(max_queued_messages).",
        minimum=60,
        maximum=0xFFFF_FFFE,
    )
    keepalive_s: int = setting(
        30, "Seconds of silence after which the client checks whether the broker answers.", minimum=5, maximum=65_535
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        try:
            if parse_address(self.url).path:
                yield "url", "must have no path; set the topics in `topics`"
        except ValueError as error:
            yield "url", str(error)
        if not self.topics:
            yield "topics", "must contain at least one topic, such as cameras/+/image"
        for number, topic in enumerate(self.topics):
            if fault := find_filter_fault(topic):
                yield f"topics[{number}]", f"{fault} (got {topic[:80]!r})"
        yield from self._find_pointer_faults()
        if self.id_property and self.version == "3.1.1":
            yield "id_property", "can't be set with version 3.1.1, which has no user properties"

    def _find_pointer_faults(self) -> Iterator[tuple[str, str]]:
        for name, pointer in (("image_at", self.image_at), ("id_at", self.id_at), ("time_at", self.time_at)):
            if pointer and not pointer.startswith("/"):
                yield name, f"must begin with / (got {pointer[:80]!r}); write a.b as /a/b"
        for name, pointer in (("id_at", self.id_at), ("time_at", self.time_at)):
            if pointer and not self.image_at:
                yield name, "needs image_at, because only JSON messages with an image are parsed"


def run(settings: MqttSourceSettings, context: SourceContext) -> None:
    """Capture images of messages until the context says to stop."""
    from eaves.plugins.mqtt.source import MqttSource  # settings are read where paho isn't needed, too

    MqttSource(settings, context).run()


def list_addresses(settings: MqttSourceSettings) -> Iterator[str]:
    """Yield the broker's `HOST:PORT`, or `tls://HOST:PORT` with TLS."""
    address = parse_address(settings.url)
    yield f"{TLS}{address.endpoint}" if address.tls else address.endpoint


def parse_place(text: str) -> dict[str, Any] | None:
    """Return the settings for `mqtt://BROKER/TOPIC` or `mqtts://...`; None for any other text."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in PORTS:
        return None
    broker, _, topic = rest.partition("/")
    return {"url": f"{scheme.lower()}://{broker}", **({"topics": [unquote(topic)]} if topic else {})}


def build_guest(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of a client that takes no message from others.

    A broker disconnects a client when another one connects with its client id, and keeps messages for the session of a
    known client id. So a guest has a client id of its own, and its session expires after a minute. A shared
    subscription gives each message to one client of its group only, so a guest subscribes to the topics themselves.
    """
    topics = settings.get("topics", ())
    listed = topics.split(",") if isinstance(topics, str) else topics
    own = [_SHARED.sub("", str(topic).strip(), count=1) for topic in listed]
    return {"client_id": name, "session_expiry_s": GUEST_SESSION_S, **({"topics": own} if own else {})}


def explain(settings: MqttSourceSettings, failed: FailedStep) -> FailedStep:
    """Name the topics when no message came."""
    if failed.name != "empty":
        return failed
    message = f"no message came on {', '.join(settings.topics)} within {failed.timeout_s:g} s"
    return replace(failed, message=message, hint="check the topic and the user's rights; wait longer with --timeout 60")


KIND = SourceKind(
    settings=MqttSourceSettings,
    run=run,
    addresses=list_addresses,
    place_setting="url",
    schemes=tuple(PORTS),
    parse_place=parse_place,
    guest=build_guest,
    persistent_s=1.5,  # the agent connects again at once with MQTT 3.1.1 when a broker doesn't support 5
    explain=explain,
)

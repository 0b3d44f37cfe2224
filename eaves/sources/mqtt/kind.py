"""The kind of source `mqtt`: its settings, and the function that captures images from the topics of an MQTT broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass

from eaves.config import setting
from eaves.mqtt.message import WEEK_S, find_filter_fault, parse_address
from eaves.reachability import TLS
from eaves.sources.context import SourceContext
from eaves.sources.kind import SourceKind


def run(settings: MqttSourceSettings, context: SourceContext) -> None:
    """Capture the images of the topics until the context says to stop."""
    from eaves.sources.mqtt.source import MqttSource

    MqttSource(settings, context).run()


def _list_addresses(settings: MqttSourceSettings) -> Iterator[str]:
    address = parse_address(settings.url)
    yield f"{TLS}{address.endpoint}" if address.tls else address.endpoint


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


KIND = SourceKind(settings=MqttSourceSettings, run=run, runs_as=("service",), addresses=_list_addresses)

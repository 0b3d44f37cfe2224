"""Settings of a source of kind `mqtt`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass

from eaves.config import setting
from eaves.mqtt.address import parse_address
from eaves.mqtt.settings import WEEK_S
from eaves.mqtt.topics import find_filter_fault

MAX_CLIENT_ID = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSourceSettings:
    """Settings of a source that takes images from the topics of an MQTT broker."""

    url: str = setting(MISSING, "The broker: mqtt://HOST[:1883], or mqtts://HOST[:8883] with TLS.")
    topics: tuple[str, ...] = setting(MISSING, "Topics to subscribe to, with QoS 1; wildcards + and # are allowed.")
    client_id: str = setting(
        "",
        "The name under which the broker keeps what is sent while the agent is away. No other client of the broker may "
        "have it. Empty, the default: eaves-SITE-NAME-ID, where ID is a random one that is kept beside the spool.",
    )
    version: str = setting(
        "auto",
        "Version of the protocol; `auto`, the default: 5, and 3.1.1 with a broker that doesn't speak it.",
        choices=("auto", "5", "3.1.1"),
    )
    payload: str = setting(
        "auto",
        "What a message holds: `image`: an image; `json`: JSON with an image in base64 at `image_at`; `cloudevents`: a "
        "CloudEvent whose data is one of these. `auto`, the default: told by each message.",
        choices=("auto", "image", "json", "cloudevents"),
    )
    image_at: str = setting("", "Where JSON has the image, a JSON Pointer such as /image/data (RFC 6901).")
    id_at: str = setting("", "Where JSON has the sender's id of the message, a JSON Pointer; empty: it has none.")
    id_property: str = setting(
        "",
        "User property of MQTT 5 that is the sender's id of the message; empty: none is. With it, only MQTT 5 is "
        "spoken.",
    )
    time_at: str = setting(
        "",
        "Where JSON has the time of capture, a JSON Pointer; a timestamp of RFC 3339, or seconds or milliseconds since "
        "1970. Empty, or without such a value: the time of arrival.",
    )
    time_property: str = setting(
        "",
        "User property of MQTT 5 that is the time of capture, in the same forms; it goes before `time_at`. Empty: none "
        "is.",
    )
    camera_level: int = setting(
        0,
        "Level of the topic that names the camera, from 1, or from -1 for the last; 0, the default: the source is the "
        "camera.",
        minimum=-64,
        maximum=64,
    )
    retained: bool = setting(
        False,
        "Whether to take what the broker kept of a topic from before the subscription: an image of unknown age.",
    )
    in_flight: int = setting(
        8,
        "Most messages that the broker sends before the first of them is acknowledged (Receive Maximum of MQTT 5). "
        "They are held in memory, and as many may come twice after a lost connection; more are faster over a slow "
        "link.",
        minimum=1,
        maximum=1000,
    )
    session_expiry_s: int = setting(
        WEEK_S,
        "Seconds for which the broker keeps messages while the agent is away (MQTT 5); the default is 7 days. Brokers "
        "have bounds of their own, mosquitto 1,000 messages (max_queued_messages).",
        minimum=60,
        maximum=0xFFFF_FFFE,
    )
    keepalive_s: int = setting(
        30, "Seconds of silence after which the broker is asked whether it is there.", minimum=5, maximum=65_535
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Check rules that involve several fields."""
        try:
            if parse_address(self.url).path:
                yield "url", "must have no path; `topics` says what is subscribed to"
        except ValueError as error:
            yield "url", str(error)
        if not self.topics:
            yield "topics", "must name a topic, such as cameras/+/image"
        for number, topic in enumerate(self.topics):
            if fault := find_filter_fault(topic):
                yield f"topics[{number}]", f"{fault} (got {topic[:80]!r})"
        if len(self.client_id.encode(errors="replace")) > MAX_CLIENT_ID or not self.client_id.isprintable():
            yield "client_id", f"must be at most {MAX_CLIENT_ID} printable characters"
        yield from self._find_pointer_faults()
        for name, value in (("id_property", self.id_property), ("time_property", self.time_property)):
            if value and self.version == "3.1.1":
                yield name, "must not be set with version 3.1.1, which has no user properties"

    def _find_pointer_faults(self) -> Iterator[tuple[str, str]]:
        for name, pointer in (("image_at", self.image_at), ("id_at", self.id_at), ("time_at", self.time_at)):
            if pointer and not pointer.startswith("/"):
                yield name, f"must begin with / (got {pointer[:80]!r}); a.b is /a/b"
        if self.payload == "json" and not self.image_at:
            yield "image_at", "must say where the image is, as payload is json"
        for name, pointer in (("id_at", self.id_at), ("time_at", self.time_at)):
            if pointer and not self.image_at:
                yield name, "needs image_at, as only JSON with an image in it is looked into"
            elif pointer and self.payload == "image":
                yield name, "must not be set with payload image, which is no JSON"

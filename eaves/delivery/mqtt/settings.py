"""Settings of a trigger that publishes to MQTT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.delivery.mqtt.topic import find_topic_fault

CLOUDEVENTS, JSON = "cloudevents", "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTriggerSettings:
    """Settings of a trigger's publishing: the section `mqtt` of a trigger with an mqtt:// or mqtts:// url."""

    format: str = setting(
        CLOUDEVENTS,
        "What a message holds: `cloudevents`, the event's data with its attributes as user properties (the whole event "
        "as JSON where the broker speaks MQTT 3.1.1 only, which has no user properties); `json`, the event's data "
        "alone with its id, camera and time beside them, for receivers that know no CloudEvents.",
        choices=(CLOUDEVENTS, JSON),
    )
    retain: bool = setting(
        False, "Have the broker keep the last message of each topic for receivers that subscribe later."
    )
    home_assistant: bool = setting(
        False,
        "Publish Home Assistant's discovery messages too, so that label and confidence of each camera appear there as "
        "sensors. One trigger of an app may set it.",
    )
    discovery_prefix: str = setting(
        "homeassistant", "First part of the discovery topics; Home Assistant's own default unless it was changed there."
    )
    credentials: Path | None = setting(
        None,
        "Folder with the files username, password, tls.crt, tls.key and ca.crt, those that the broker needs; read at "
        "each connection.",
    )
    version: str = setting(
        "auto",
        "MQTT version: `auto` tries 5 first and 3.1.1 when the broker refuses it.",
        choices=("auto", "5", "3.1.1"),
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the faults of rules that concern several fields."""
        if fault := find_topic_fault(self.discovery_prefix):
            yield "discovery_prefix", fault
        elif "{" in self.discovery_prefix:
            yield "discovery_prefix", f"must be a topic without attributes in braces (got {self.discovery_prefix!r})"

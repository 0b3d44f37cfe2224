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

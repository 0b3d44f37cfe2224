"""Settings of a publisher: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.delivery.mqtt.settings import SCHEMES, MqttTriggerSettings, find_url_fault, is_mqtt
from eaves.spool import SpoolLimits

ATTRIBUTES_BYTES = 65_536
"""Room that the spool needs for an event's attributes, in addition to its data, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherSettings:
    """Settings that a platform passes to a publisher process."""

    app: str = setting(
        "images", "Name of the trigger's app; predictions of its function appear in Home Assistant under this name."
    )
    site: str = setting("local", "Name of the site, as it appears in the source of events.")
    url: str = setting(
        "", "Address that events are published to: mqtt://HOST[:PORT]/TOPIC or mqtts://HOST[:PORT]/TOPIC."
    )
    mqtt: MqttTriggerSettings = setting(MqttTriggerSettings, "Settings for publishing: format, topics, credentials.")
    host: str = setting("127.0.0.1", "Address that both ports listen on; 0.0.0.0 in a pod.")
    port: int = setting(
        8080, "TCP port that receives events. The default is Knative's own.", minimum=1, maximum=65_535, env="PORT"
    )
    health_port: int = setting(
        0, "TCP port of /metrics and /health. The default, 0, is no port.", minimum=0, maximum=65_535
    )
    max_bytes: int = setting(
        20_000_000,
        "Maximum size of an event in bytes; a larger event is refused with 413. A "
        "prediction has some kilobytes, an image more.",
        minimum=1,
    )
    spool: Path = setting(
        Path("/spool/publisher.db"), "Path of the durable queue; it must be on a disk that outlives the process."
    )
    spool_max_bytes: int = setting(
        500_000_000,
        "Maximum size in bytes of the events that wait while the broker is away; when it is "
        "reached, the publisher answers 429 and the sender keeps its events. `spool_size` of a "
        "trigger sets it; the default fits into 1Gi, together with the dead letters.",
        minimum=1_000_000,
    )
    spool_dead_max_bytes: int = setting(
        100_000_000,
        "Maximum size in bytes of the events that the broker refuses, in addition to `spool_max_bytes`.",
        minimum=0,
    )

    def limits(self) -> SpoolLimits:
        """Return the limits of the spool."""
        return SpoolLimits(max_bytes=self.spool_max_bytes, dead_max_bytes=self.spool_dead_max_bytes)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if not is_mqtt(self.url):
            yield "url", f"must start with {' or '.join(SCHEMES)}"
        elif fault := find_url_fault(self.url):
            yield "url", fault
        needed = self.max_bytes + ATTRIBUTES_BYTES
        if self.spool_max_bytes < needed:
            yield (
                "spool_max_bytes",
                f"must fit an event of max_bytes and its attributes: at least {needed} (got {self.spool_max_bytes})",
            )

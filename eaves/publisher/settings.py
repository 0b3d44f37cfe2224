"""Settings of a publisher: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.delivery.mqtt.settings import SCHEMES, MqttTriggerSettings, find_url_fault, is_mqtt
from eaves.spool import SpoolLimits, WhenFull
from eaves.spool.limits import DAY_S

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
    in_flight_bytes: int = setting(
        32_000_000,
        "Maximum size in bytes of all events that are received at the same time, or "
        "`max_bytes` if that is larger; when it is reached the answer is 429, and the sender "
        "keeps its event.",
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
    spool_dead_max_age_days: float = setting(
        30.0,
        "Days after which an event that the broker refuses is deleted. The default "
        "leaves time for a person who looks once a month.",
        minimum=0,
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Action when `spool_dead_max_bytes` is reached: `expire` deletes the oldest dead "
        "letters, and counts and logs each; `refuse` pauses delivery until a person has made "
        "room.",
        choices=("expire", "refuse"),
    )
    admin_socket: Path | None = setting(
        None,
        "Path of the Unix socket on which the process's own user can list and change the "
        "queue. The default is `socket` in the folder `NAME.admin` beside the spool NAME.",
    )
    parallel: int = setting(
        4,
        "Maximum number of events that wait for the broker's acknowledgement at the same time.",
        minimum=1,
        maximum=64,
    )
    timeout_s: float = setting(
        20.0, "Seconds that the broker may take to acknowledge one event.", minimum=1, maximum=600
    )
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

    def limits(self) -> SpoolLimits:
        """Return the limits of the spool."""
        return SpoolLimits(
            max_bytes=self.spool_max_bytes,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )

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

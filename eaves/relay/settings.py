"""Settings of a relay: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.http_client.trust import build_tls_context
from eaves.link.client import check_receiver
from eaves.relay.alarms import Rule, parse_alarms
from eaves.relay.relay_lanes import BROKER
from eaves.spool import LedgerLimits, SpoolLimits, WhenFull
from eaves.spool.limits import DAY_S

ATTRIBUTES_BYTES = 65_536
"""Room that the spool needs for an event's attributes, in addition to its data, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """Settings that a platform passes to a relay process."""

    to: str = setting(
        "", "Address of the receiver in the cloud, https://HOST:PORT; http:// is allowed for loopback only."
    )
    credentials: Path | None = setting(
        None,
        "Folder with those of the files `token`, `ca.crt`, `tls.crt` and `tls.key` that the "
        "receiver needs. The files are read at each request.",
    )
    site: str = setting(
        "local",
        "Name of the site. Nothing is sent to a receiver if the token or certificate belongs to another site.",
    )
    host: str = setting("127.0.0.1", "Address that both ports listen on; 0.0.0.0 in a pod.")
    port: int = setting(
        8080, "TCP port that receives events. The default is Knative's own.", minimum=1, maximum=65_535, env="PORT"
    )
    health_port: int = setting(
        0, "TCP port of /metrics and /health. The default, 0, is no port.", minimum=0, maximum=65_535
    )
    max_bytes: int = setting(
        20_000_000,
        "Maximum size of a request in bytes; a larger request is refused with 413. "
        "A prediction has some kilobytes, an image more.",
        minimum=1,
    )
    in_flight_bytes: int = setting(
        32_000_000,
        "Maximum size in bytes of all requests that are received at the same time, or "
        "`max_bytes` if that is larger; when it is reached the answer is 429, and the sender "
        "keeps its event.",
        minimum=1,
    )
    spool: Path = setting(
        Path("/spool/relay.db"), "Path of the durable queue; it must be on a disk that outlives the process."
    )
    spool_max_bytes: int = setting(
        1_000_000_000,
        "Maximum size in bytes of the events that wait while the link is down; when it is "
        "reached, the relay answers 429 and its senders keep their events.",
        minimum=1_000_000,
    )
    spool_max_entries: int = setting(
        2_000_000, "Maximum number of events that wait, including the copies for the Broker.", minimum=1_000
    )
    spool_dead_max_bytes: int = setting(
        200_000_000,
        "Maximum size in bytes of the events that the receiver refuses, in addition to `spool_max_bytes`.",
        minimum=0,
    )
    spool_dead_max_age_days: float = setting(
        30.0,
        "Days after which an event that the receiver refuses is deleted. The default "
        "leaves time for a person who looks once a month.",
        minimum=0,
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Action when `spool_dead_max_bytes` is reached: `expire` deletes the oldest dead "
        "letters, and counts and logs each; `refuse` pauses forwarding until a person has made "
        "room.",
        choices=("expire", "refuse"),
    )
    ledger_max_entries: int = setting(
        500_000,
        "Maximum number of lines of the ledger, which records the outcome of each event; a "
        "line takes about 250 bytes. The default covers the last 500,000 events. An event that "
        "is repeated after its line was deleted is forwarded again, and the receiver "
        "recognises it.",
        minimum=1_000,
    )
    alarms: str = setting(
        "",
        "Events that are forwarded before all others: a JSON list of mappings of attributes to "
        'values, such as [{"label": "fire"}, '
        '{"label": "smoke", "confidence": "high"}]. An event is an alarm if all the '
        "attributes of one mapping match.",
    )
    newest_first: bool = setting(
        False, "Forward the newest events of each class first instead of the oldest. All of them are forwarded."
    )
    rate_bytes: int = setting(
        0, "Maximum number of bytes per second that are sent, on average; 0 is no limit.", minimum=0
    )
    images: str = setting(
        "none",
        "Images that are forwarded: `all`, after all other events; `none`, images are acknowledged but not stored.",
        choices=("none", "all"),
    )
    probe_s: float = setting(
        45.0,
        "Seconds without an event after which the relay checks whether the receiver answers, "
        "so that the status is up to date. A check takes some hundred bytes. 0 means never.",
        minimum=0,
    )
    broker: str = setting(
        "",
        "Address of the site's own Broker, which gets a copy of every event that isn't an "
        "image. The default is empty: no copies are sent. Knative's SinkBinding sets it.",
        env="K_SINK",
    )
    has_broker: bool = setting(
        False,
        "True if the site has its own Broker. Its copies then wait while `broker` is empty, as "
        "K_SINK is while a SinkBinding finds no Broker.",
    )
    timeout_s: float = setting(
        60.0, "Seconds that the site's own Broker may take to acknowledge one event.", minimum=1, maximum=600
    )
    ca_certs: str = setting(
        "", "Certificate authorities to trust in addition to the system's, as PEM text.", env="K_CA_CERTS"
    )
    admin_socket: Path | None = setting(
        None,
        "Path of the Unix socket on which the process's own user can list and change the "
        "queue. The default is `socket` in the folder `NAME.admin` beside the spool NAME.",
    )
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

    @property
    def to_broker(self) -> bool:
        """Whether the site's own Broker gets a copy of each event that isn't an image."""
        return self.has_broker or bool(self.broker)

    def limits(self) -> SpoolLimits:
        """Return the limits of the spool."""
        return SpoolLimits(
            max_bytes=self.spool_max_bytes,
            max_entries=self.spool_max_entries,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )

    def ledger_limits(self) -> LedgerLimits:
        """Return the limits of the ledger, which ignores the copies for the site's own Broker."""
        return LedgerLimits(max_entries=self.ledger_max_entries, ignored_lanes=(BROKER,))

    def alarm_rules(self) -> tuple[Rule, ...]:
        """Return the parsed rules of `alarms`.

        Raises:
            ValueError: When `alarms` is not a list of mappings.
        """
        return parse_alarms(self.alarms)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if fault := check_receiver(self.to):
            yield "to", fault
        if not NAME_PATTERN.fullmatch(self.site):
            yield "site", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.site!r})"
        try:
            self.alarm_rules()
        except ValueError as error:
            yield "alarms", f"must be a JSON list of mappings: {error} (got {self.alarms[:80]!r})"
        if self.broker and not self.broker.startswith(("http://", "https://")):
            yield "broker", f"must be an http:// or https:// address (got {self.broker!r})"
        if self.ca_certs:
            try:
                build_tls_context(self.ca_certs)
            except ValueError as error:
                yield "ca_certs", str(error)
        needed = self.max_bytes + ATTRIBUTES_BYTES
        if self.spool_max_bytes < needed:
            yield (
                "spool_max_bytes",
                f"must fit an event of max_bytes and its attributes: at least {needed} (got {self.spool_max_bytes})",
            )

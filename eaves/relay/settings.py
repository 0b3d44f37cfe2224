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

    to: str = setting("", "Address of the receiver in the cloud, https://HOST:PORT; http:// on loopback only.")
    credentials: Path | None = setting(
        None,
        "Folder with the files `token`, `ca.crt`, `tls.crt` and `tls.key`, as far as the receiver needs them; read at "
        "each request.",
    )
    site: str = setting(
        "local",
        "The site's name. Nothing is sent to a receiver whose token or certificate is another site's.",
    )
    host: str = setting("127.0.0.1", "Address that both ports are listened to on; in a pod 0.0.0.0.")
    port: int = setting(
        8080, "TCP port that takes events; Knative's own default.", minimum=1, maximum=65_535, env="PORT"
    )
    health_port: int = setting(0, "TCP port of /metrics and /health; 0, the default: none.", minimum=0, maximum=65_535)
    max_bytes: int = setting(
        20_000_000, "Larger requests are refused with 413; a prediction has some kilobytes, an image more.", minimum=1
    )
    in_flight_bytes: int = setting(
        32_000_000,
        "Bytes of all requests that are taken at the same time, or `max_bytes` if that is more; beyond it the "
        "answer is 429, and the sender keeps its event.",
        minimum=1,
    )
    spool: Path = setting(Path("/spool/relay.db"), "The durable queue; on a disk that outlives the process.")
    spool_max_bytes: int = setting(
        1_000_000_000,
        "Room for events while the link is down; full, the relay answers 429 and its senders keep their events.",
        minimum=1_000_000,
    )
    spool_max_entries: int = setting(
        2_000_000, "Events that may wait at most, a copy for the Broker counted as well.", minimum=1_000
    )
    spool_dead_max_bytes: int = setting(
        200_000_000, "Room for events that the receiver refuses, apart from `spool_max_bytes`.", minimum=0
    )
    spool_dead_max_age_days: float = setting(
        30.0, "Days after which an event that the receiver refuses expires; somebody looks once a month.", minimum=0
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Beyond `spool_dead_max_bytes`: `expire` deletes the oldest, counted and logged by id; `refuse` pauses "
        "forwarding until somebody has looked.",
        choices=("expire", "refuse"),
    )
    ledger_max_entries: int = setting(
        500_000,
        "Lines of the ledger, which says what became of each event: about 250 bytes each, of the last 500,000 events. "
        "An event that comes again later than that is forwarded again, and the receiver recognises it.",
        minimum=1_000,
    )
    alarms: str = setting(
        "",
        "Which events are forwarded before all others: a JSON list of mappings of attributes to values, such as "
        '[{"label": "fire"}, {"label": "smoke", "confidence": "high"}]. An event that has all of one mapping is one.',
    )
    newest_first: bool = setting(
        False, "Forward the newest events of each class first, instead of the oldest; all of them are forwarded."
    )
    rate_bytes: int = setting(
        0, "Bytes a second that are sent at most, on average; 0: as many as the link carries.", minimum=0
    )
    images: str = setting(
        "none",
        "`all`: images that come in are forwarded, after everything else; `none`: they are answered for and not kept.",
        choices=("none", "all"),
    )
    probe_s: float = setting(
        45.0,
        "Seconds without an event after which the receiver is asked whether it is there, so that the status is true; "
        "some hundred bytes each. 0: never.",
        minimum=0,
    )
    broker: str = setting(
        "",
        "Address of the site's own Broker, which gets a copy of everything that isn't an image; empty: none. Knative's "
        "SinkBinding sets it.",
        env="K_SINK",
    )
    has_broker: bool = setting(
        False,
        "Whether the site has a Broker of its own. Its copies then wait while `broker` is empty, as K_SINK is for as "
        "long as a SinkBinding finds no Broker.",
    )
    timeout_s: float = setting(
        60.0, "Seconds that the site's own Broker may take to answer for one event.", minimum=1, maximum=600
    )
    ca_certs: str = setting("", "Certificate authorities to trust beside the system's, as PEM text.", env="K_CA_CERTS")
    admin_socket: Path | None = setting(
        None,
        "Unix socket, for the process's own user, at which its queue is shown and changed; not given: `socket` in the "
        "folder `NAME.admin` beside the spool NAME.",
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
        """Check rules that involve several fields."""
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
                f"must hold an event of max_bytes and its attributes: {needed} at least (got {self.spool_max_bytes})",
            )

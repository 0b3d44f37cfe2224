"""Settings of a receiver: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.http_client.proxies import is_loopback
from eaves.http_client.trust import build_tls_context
from eaves.spool import SpoolLimits, WhenFull
from eaves.spool.limits import DAY_S

ATTRIBUTES_BYTES = 65_536
"""Room that the spool needs for an event's attributes, in addition to its data, bytes."""
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """Settings of a receiver process."""

    host: str = setting(
        "127.0.0.1", "Address that all ports are listened to on; any other than loopback needs `credentials`."
    )
    port: int = setting(8443, "TCP port that takes events.", minimum=1, maximum=65_535, env="PORT")
    credentials: Path | None = setting(
        None,
        "Folder with the server's certificate: `tls.crt` and `tls.key`, and `ca.crt` with the authorities that sign "
        "sites' certificates, if any. Changed files are used from the next connection on.",
    )
    sites: Path = setting(
        Path("sites"),
        "Folder with one file for each site, named like the site; each of its lines is a token with which the site may "
        "send. Changed files are used within a second, so a site has two tokens while it changes them.",
    )
    sink: str = setting(
        "",
        "Where received events go, an http(s) address such as a Knative Broker's. With neither this nor `folder` they "
        "are received and wait, as while a SinkBinding finds no Broker.",
        env="K_SINK",
    )
    folder: Path | None = setting(
        None, "Folder where received events are written instead: a file of JSON lines a day, and images."
    )
    functions: str = setting(
        "",
        "Functions in the cloud that sites may ask, a JSON object of names and addresses; for agents with "
        "`through: cloud`.",
    )
    function_timeout_s: float = setting(
        120.0, "Seconds that a function may take, its cold start included.", minimum=1, maximum=600
    )
    max_bytes: int = setting(
        32_000_000,
        "Larger requests are refused with 413, as they come and unpacked; an image of 20 MB takes 27 MB in a batch.",
        minimum=1,
    )
    in_flight_bytes: int = setting(
        64_000_000,
        "Bytes of all requests that are taken at the same time, or `max_bytes` if that is more; beyond it the answer "
        "is 429, and the relay keeps its events. One site gets half of it; small requests find an eighth more, and "
        "images for `functions` as much again.",
        minimum=1,
    )
    connections: int = setting(
        256, "Connections at the same time; a relay has two open while it drains.", minimum=2, maximum=10_000
    )
    idle_s: float = setting(
        60.0, "Seconds after which a connection without a request is closed.", minimum=1, maximum=3_600
    )
    spool: Path = setting(Path("/spool/receiver.db"), "The durable queue; on a disk that outlives the process.")
    spool_max_bytes: int = setting(
        2_000_000_000,
        "Room for events while the sink is away; full, the receiver answers 429 and relays keep their events.",
        minimum=1_000_000,
    )
    spool_max_entries: int = setting(1_000_000, "Events that wait at most, beside `spool_max_bytes`.", minimum=1)
    spool_dead_max_bytes: int = setting(
        200_000_000, "Room for events that the sink refuses, apart from `spool_max_bytes`.", minimum=0
    )
    spool_dead_max_age_days: float = setting(
        30.0, "Days after which an event that the sink refuses expires; somebody looks once a month.", minimum=0
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Beyond `spool_dead_max_bytes`: `expire` deletes the oldest, counted and logged by id; `refuse` pauses "
        "delivery until somebody has looked.",
        choices=("expire", "refuse"),
    )
    ledger_max_entries: int = setting(
        1_000_000,
        "Events whose ids are remembered, about 250 bytes of disk each; one that comes again after that is new.",
        minimum=1_000,
    )
    parallel: int = setting(
        1,
        "Deliveries to the sink at the same time; more than one may change the order of events.",
        minimum=1,
        maximum=64,
    )
    timeout_s: float = setting(30.0, "Seconds that one delivery to the sink may take.", minimum=1, maximum=600)
    ca_certs: str = setting(
        "",
        "Certificate authorities to trust beside the system's, as PEM text: those of the sink and the functions.",
        env="K_CA_CERTS",
    )
    health_port: int = setting(0, "TCP port of /metrics and /health; 0, the default: none.", minimum=0, maximum=65_535)
    admin_socket: Path | None = setting(
        None,
        "Unix socket, for the process's own user, at which its queue is shown and changed; not given: `socket` in the "
        "folder `NAME.admin` beside the spool NAME.",
    )
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

    def limits(self) -> SpoolLimits:
        """Return the limits of the spool."""
        return SpoolLimits(
            max_bytes=self.spool_max_bytes,
            max_entries=self.spool_max_entries,
            seen_max_entries=self.ledger_max_entries,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )

    def function_urls(self) -> Mapping[str, str]:
        """Return the address of each function by name.

        Raises:
            ValueError: When `functions` is not a JSON object of names and addresses.
        """
        found = json.loads(self.functions or "{}")
        if not isinstance(found, dict):
            raise ValueError("it is no object")  # noqa: TRY004 - the text is wrong, not the call
        for name, url in found.items():
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"{name[:64]!r} is no name of a function")
            if not (isinstance(url, str) and url.startswith(_SCHEMES)):
                raise ValueError(f"the address of {name} must start with http:// or https://")
        return found

    def faults(self) -> Iterator[tuple[str, str]]:
        """Check rules that involve several fields."""
        if self.credentials is None and not is_loopback(self.host.lower()):
            yield (
                "credentials",
                f"must be a folder with tls.crt and tls.key, or host must be 127.0.0.1 (got host {self.host})",
            )
        if self.sink and self.folder is not None:
            yield "sink", "can't be given together with folder"
        if self.sink and not self.sink.startswith(_SCHEMES):
            yield "sink", f"must be an http:// or https:// address (got {self.sink!r})"
        try:
            self.function_urls()
        except ValueError as error:
            yield "functions", f'must be a JSON object such as {{"flowers": "http://flowers.default"}}: {error}'
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

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
        "127.0.0.1", "Address that all ports listen on; any address other than loopback needs `credentials`."
    )
    port: int = setting(8443, "TCP port that receives events.", minimum=1, maximum=65_535, env="PORT")
    credentials: Path | None = setting(
        None,
        "Folder with the server's certificate: `tls.crt` and `tls.key`, and `ca.crt` with the "
        "authorities that sign the sites' certificates, if any. A change applies from the next "
        "connection on.",
    )
    sites: Path = setting(
        Path("sites"),
        "Folder with one file for each site, with the name of the site; each line of the file "
        "is a token that the site may send. A change applies within a second. A file may hold "
        "two tokens while a site changes its token.",
    )
    sink: str = setting(
        "",
        "Address that received events are sent to, http(s), such as the address of a Knative "
        "Broker. If neither `sink` nor `folder` is set, events are received and wait, as they "
        "do while a SinkBinding finds no Broker.",
        env="K_SINK",
    )
    folder: Path | None = setting(
        None,
        "Folder that received events are written to, if they are not sent to `sink`: one file of JSON lines for each "
        "day, and the images.",
    )
    functions: str = setting(
        "",
        "Functions in the cloud that sites may call, as a JSON object of names and addresses; "
        "for agents with `through: cloud`.",
    )
    function_timeout_s: float = setting(
        120.0, "Seconds that a function may take to answer, including its cold start.", minimum=1, maximum=600
    )
    max_bytes: int = setting(
        32_000_000,
        "Maximum size of a request in bytes, compressed and uncompressed; a larger request is "
        "refused with 413. An image of 20 MB takes 27 MB in a batch.",
        minimum=1,
    )
    in_flight_bytes: int = setting(
        64_000_000,
        "Maximum size in bytes of all requests that are received at the same time, or "
        "`max_bytes` if that is larger; when it is reached the answer is 429, and the relay "
        "keeps its events. One site gets half of it. Small requests may use an eighth more, "
        "and images for `functions` as much again.",
        minimum=1,
    )
    connections: int = setting(
        256,
        "Maximum number of connections at the same time; a relay has two open while it empties its queue.",
        minimum=2,
        maximum=10_000,
    )
    idle_s: float = setting(
        60.0, "Seconds after which a connection without a request is closed.", minimum=1, maximum=3_600
    )
    spool: Path = setting(
        Path("/spool/receiver.db"), "Path of the durable queue; it must be on a disk that outlives the process."
    )
    spool_max_bytes: int = setting(
        2_000_000_000,
        "Maximum size in bytes of the events that wait while the sink is away; when it is "
        "reached, the receiver answers 429 and relays keep their events.",
        minimum=1_000_000,
    )
    spool_max_entries: int = setting(
        1_000_000, "Maximum number of events that wait, in addition to the limit of `spool_max_bytes`.", minimum=1
    )
    spool_dead_max_bytes: int = setting(
        200_000_000,
        "Maximum size in bytes of the events that the sink refuses, in addition to `spool_max_bytes`.",
        minimum=0,
    )
    spool_dead_max_age_days: float = setting(
        30.0,
        "Days after which an event that the sink refuses is deleted. The default leaves "
        "time for a person who looks once a month.",
        minimum=0,
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Action when `spool_dead_max_bytes` is reached: `expire` deletes the oldest dead "
        "letters, and counts and logs each; `refuse` pauses delivery until a person has made "
        "room.",
        choices=("expire", "refuse"),
    )
    ledger_max_entries: int = setting(
        1_000_000,
        "Number of events whose ids are remembered, at about 250 bytes of disk each; a "
        "repetition that arrives after that counts as a new event.",
        minimum=1_000,
    )
    parallel: int = setting(
        1,
        "Number of deliveries to the sink at the same time; more than one may change the order of events.",
        minimum=1,
        maximum=64,
    )
    timeout_s: float = setting(30.0, "Seconds that one delivery to the sink may take.", minimum=1, maximum=600)
    ca_certs: str = setting(
        "",
        "Certificate authorities to trust in addition to the system's, as PEM text, for the sink and the functions.",
        env="K_CA_CERTS",
    )
    health_port: int = setting(
        0, "TCP port of /metrics and /health. The default, 0, is no port.", minimum=0, maximum=65_535
    )
    admin_socket: Path | None = setting(
        None,
        "Path of the Unix socket on which the process's own user can list and change the "
        "queue. The default is `socket` in the folder `NAME.admin` beside the spool NAME.",
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
            raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not the call
        for name, url in found.items():
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"{name[:64]!r} is not the name of a function")
            if not (isinstance(url, str) and url.startswith(_SCHEMES)):
                raise ValueError(f"the address of {name} must begin with http:// or https://")
        return found

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield the path and message of each fault that involves several settings."""
        if self.credentials is None and not is_loopback(self.host.lower()):
            yield (
                "credentials",
                f"must be a folder with tls.crt and tls.key, because host is not 127.0.0.1 (got host {self.host})",
            )
        if self.sink and self.folder is not None:
            yield "sink", "can't be set together with folder"
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
                f"must fit an event of max_bytes and its attributes: at least {needed} (got {self.spool_max_bytes})",
            )

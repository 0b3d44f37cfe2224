"""An agent's settings: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.http_client.trust import build_tls_context
from eaves.spool import Limits, WhenFull
from eaves.spool.limits import DAY_S

ATTRIBUTES_BYTES = 65_536
"""Room that the spool needs beside an image's own bytes, for the event's attributes: a path of 4,096 bytes takes up to
24 KB of JSON, and the rest is for the extensions that K_CE_OVERRIDES adds."""

MIN_REMEMBER_S = 172_800
"""Two days: files that are still in the folder are marked as needed once a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What a platform tells an agent process."""

    source: str = setting("source", "The source's name, last part of its events' source.")
    site: str = setting("local", "The site's name, in its events' source.")
    kind: str = setting("folder", "Which source.", choices=("folder",))
    path: Path = setting(Path("/images"), "The folder to watch, with everything below it.")
    polling: bool = setting(
        False, "Scan the folder every `poll_s` instead of asking the kernel: for NFS and other network folders."
    )
    poll_s: float = setting(
        1.0,
        "Seconds between two scans when polling; a scan is followed by a pause of ten times its own length at least, "
        "so that a large folder takes a tenth of a core at most.",
        minimum=0.01,
        maximum=3600,
    )
    settle_s: float = setting(
        2.0, "Seconds a file must stay unchanged when nothing tells that its writer closed it.", minimum=0, maximum=600
    )
    max_bytes: int = setting(
        20_000_000, "Larger files are skipped, logged and counted; functions refuse them anyway.", minimum=1
    )
    known_files: int = setting(
        200_000,
        "Most files that are remembered in memory as sent, about 100 bytes each; further ones are looked up in the "
        "spool at each scan. The default takes 20 MB of the 256 MB that an agent's pod may use.",
        minimum=0,
    )
    max_files: int = setting(
        1_000_000,
        "With so many images in the folder, capture is paused until some are removed, as the spool couldn't remember "
        "all that were sent. It remembers twice as many, about 60 bytes each: the default takes up to 120 MB of disk.",
        minimum=1,
    )
    remember_s: int = setting(
        604_800,
        "Seconds for which the spool remembers an image after it left the folder; when it comes back later, it is sent "
        "again. Files that stay in the folder are never forgotten. The default, 7 days, lets a disk be unplugged for a "
        "week.",
        minimum=MIN_REMEMBER_S,
    )
    spool: Path = setting(Path("/spool/agent.db"), "The durable queue; on a disk that outlives the agent.")
    spool_max_bytes: int = setting(
        1_000_000_000, "Room for images while the link is down; full, the source waits.", minimum=1_000_000
    )
    spool_dead_max_bytes: int = setting(
        200_000_000,
        "Room for events that nobody takes, apart from `spool_max_bytes`; a fifth of its default, so that both fit a "
        "small card.",
        minimum=0,
    )
    spool_dead_max_age_days: float = setting(
        30.0, "Days after which an event that nobody takes expires; somebody looks once a month.", minimum=0
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Beyond `spool_dead_max_bytes`: `expire` deletes the oldest, counted and logged by id; `refuse` pauses "
        "delivery until somebody has looked.",
        choices=("expire", "refuse"),
    )
    admin_socket: Path | None = setting(
        None,
        "Unix socket, for the agent's own user, at which its queue is shown and changed; not given: `socket` in the "
        "folder `NAME.admin` beside the spool NAME.",
    )
    port: int = setting(
        0,
        "TCP port of /metrics and /health; 0, the default: none, as nobody scrapes a process of one machine.",
        minimum=0,
        maximum=65_535,
    )
    host: str = setting("127.0.0.1", "Address that the port is listened to on; in a pod 0.0.0.0, as the kubelet asks.")
    parallel: int = setting(2, "Deliveries at the same time.", minimum=1, maximum=64)
    sink: str = setting(
        "",
        "Where events go, an http(s) address; without one they wait in the spool. Knative's SinkBinding sets it, and "
        "takes it away while there is no Broker.",
        env="K_SINK",
    )
    function: str = setting(
        "",
        "Address of a function that is asked first: its predictions are kept and go to the sink, so that no broker has "
        "to keep images; empty: the images themselves go to the sink.",
        env="EAVES_FUNCTION_URL",
    )
    timeout_s: float = setting(
        120.0, "Seconds that one delivery may take, a function's cold start included.", minimum=1, maximum=600
    )
    overrides: str = setting(
        "", 'Extension attributes for every event, {"extensions": {...}} as SinkBinding sets it.', env="K_CE_OVERRIDES"
    )
    ca_certs: str = setting(
        "",
        "Certificate authorities to trust beside the system's, as PEM text: those of the sink in a cluster with "
        "transport encryption, where SinkBinding sets it.",
        env="K_CA_CERTS",
    )
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

    def limits(self) -> Limits:
        """The spool's bounds."""
        return Limits(
            max_bytes=self.spool_max_bytes,
            seen_max_entries=2 * self.max_files,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        if self.sink and not self.sink.startswith(("http://", "https://")):
            yield "sink", f"must be an http:// or https:// address (got {self.sink!r})"
        if self.ca_certs:
            try:
                build_tls_context(self.ca_certs)
            except ValueError as error:
                yield "ca_certs", str(error)
        if self.function and not self.function.startswith(("http://", "https://")):
            yield "function", f"must be an http:// or https:// address (got {self.function!r})"
        needed = self.max_bytes + ATTRIBUTES_BYTES
        if self.spool_max_bytes < needed:
            yield (
                "spool_max_bytes",
                f"must hold an image of max_bytes and its attributes: {needed} at least (got {self.spool_max_bytes})",
            )


def default_socket(spool: Path) -> Path:
    """Where an agent's queue is administered unless `admin_socket` says otherwise."""
    return spool.with_name(f"{spool.name}.admin") / "socket"

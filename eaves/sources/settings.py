"""Settings of an agent and of its sources: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.http_client.trust import build_tls_context
from eaves.link.client import check_receiver
from eaves.spool import SpoolLimits, WhenFull
from eaves.spool.limits import DAY_S

ATTRIBUTES_BYTES = 65_536
"""Room that the spool needs for an event's attributes, in addition to an image, bytes. A path of 4,096 bytes takes up
to 24 KB of JSON, and the rest is for the extensions that K_CE_OVERRIDES adds."""

DEFAULT_KIND = "folder"
"""Default for the kind of a source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Settings that every source has, whatever its kind."""

    name: str = setting("source", "The source's name, unique in its agent; last part of its events' source.")
    kind: str = setting(
        DEFAULT_KIND, "Which kind of source: `folder`, `mqtt`, `http`, `replay`, or one that a package adds."
    )
    credentials: Path | None = setting(
        None,
        "Folder with the files `username`, `password`, `tls.crt`, `tls.key` and `ca.crt`, as far as they are needed; "
        "read at each connection.",
    )
    max_bytes: int = setting(
        20_000_000, "Larger images are skipped and counted; functions refuse them anyway.", minimum=1
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Check rules that involve several fields."""
        if not NAME_PATTERN.fullmatch(self.name):
            yield "name", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.name!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Settings that a platform passes to an agent process."""

    sources: str = setting(
        "",
        "The sources, a JSON list of mappings with the settings of each: those that every source has, and those of its "
        "kind.",
    )
    site: str = setting("local", "The site's name, in its events' source.")
    spool: Path = setting(Path("/spool/agent.db"), "The durable queue; on a disk that outlives the agent.")
    takeover: str = setting(
        "",
        "Spool files that this agent empties into its own, with what they remember, and deletes, a JSON list of paths: "
        "those of agents for one source each, as earlier versions had. One that the disk has no room for waits.",
    )
    spool_max_bytes: int = setting(
        1_000_000_000, "Room for images while the link is down; full, the sources wait.", minimum=1_000_000
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
    function_credentials: Path | None = setting(
        None,
        "Folder with the files `token`, `ca.crt`, `tls.crt` and `tls.key`, as far as the function needs them: those of "
        "the link, for a function in the cloud; read at each request.",
    )
    forward_images: str = setting(
        "none",
        "Which images go to the sink beside their predictions, in the commit that keeps the prediction: `all`, `low` "
        "(those whose prediction has low confidence) or `none`. Without a function all of them do.",
        choices=("none", "low", "all"),
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

    def limits(self, *, remembered: int) -> SpoolLimits:
        """Return the limits of the spool.

        Args:
            remembered: Number of event ids that the spool remembers.
        """
        return SpoolLimits(
            max_bytes=self.spool_max_bytes,
            seen_max_entries=remembered,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )

    def former_spools(self) -> tuple[Path, ...]:
        """Return the files that `takeover` names.

        Raises:
            ValueError: When `takeover` is not a JSON list of paths.
        """
        listed = json.loads(self.takeover or "[]")
        if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
            raise ValueError("it is no list of texts")
        return tuple(map(Path, listed))

    def faults(self) -> Iterator[tuple[str, str]]:
        """Check rules that involve several fields."""
        try:
            self.former_spools()
        except ValueError as error:
            yield "takeover", f"must be a JSON list of paths: {error} (got {self.takeover[:80]!r})"
        if self.sink and not self.sink.startswith(("http://", "https://")):
            yield "sink", f"must be an http:// or https:// address (got {self.sink!r})"
        if self.ca_certs:
            try:
                build_tls_context(self.ca_certs)
            except ValueError as error:
                yield "ca_certs", str(error)
        if self.function and not self.function.startswith(("http://", "https://")):
            yield "function", f"must be an http:// or https:// address (got {self.function!r})"
        elif self.function_credentials and (fault := check_receiver(self.function, with_path=True)):
            yield "function", f"{fault}, as its credentials are sent along"
        if self.function_credentials and not self.function:
            yield "function_credentials", "must be given with `function` only"

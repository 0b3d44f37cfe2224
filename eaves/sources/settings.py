"""An agent's settings: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What a platform tells an agent process."""

    source: str = setting("source", "The source's name, last part of its events' source.")
    site: str = setting("local", "The site's name, in its events' source.")
    kind: str = setting("folder", "Which source.", choices=("folder",))
    path: Path = setting(Path("/images"), "The folder to watch, with everything below it.")
    polling: bool = setting(False, "Poll instead of asking the kernel: for NFS and other network folders.")
    settle_s: float = setting(
        2.0, "Seconds a file must stay unchanged when nothing tells that its writer closed it.", minimum=0, maximum=600
    )
    max_bytes: int = setting(
        20_000_000, "Larger files are skipped and logged; functions refuse them anyway.", minimum=1
    )
    spool: Path = setting(Path("/spool/agent.db"), "The durable queue; on a disk that outlives the agent.")
    spool_max_bytes: int = setting(
        1_000_000_000, "Room for images while the link is down; full, the source waits.", minimum=1_000_000
    )
    admin_socket: Path | None = setting(
        None,
        "Unix socket, for the agent's own user, at which its queue is shown and changed; not given: `socket` in the "
        "folder `NAME.admin` beside the spool NAME.",
    )
    port: int = setting(
        0,
        "TCP port of /metrics, /health and /live; 0, the default: none, as nobody scrapes a process of one machine.",
        minimum=0,
        maximum=65_535,
    )
    host: str = setting("127.0.0.1", "Address that the port is listened to on; in a pod 0.0.0.0, as the kubelet asks.")
    parallel: int = setting(2, "Deliveries at the same time.", minimum=1, maximum=64)
    sink: str = setting("", "Where events go, an http(s) address; Knative's SinkBinding sets it.", env="K_SINK")
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
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields."""
        if not self.sink.startswith(("http://", "https://")):
            yield "sink", f"must be an http:// or https:// address (got {self.sink!r})"
        if self.function and not self.function.startswith(("http://", "https://")):
            yield "function", f"must be an http:// or https:// address (got {self.function!r})"


def default_socket(spool: Path) -> Path:
    """Where an agent's queue is administered unless `admin_socket` says otherwise."""
    return spool.with_name(f"{spool.name}.admin") / "socket"

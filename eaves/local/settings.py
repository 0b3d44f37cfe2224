"""Settings of the local platform. They belong to `eaves up` and not to eaves.yaml, as projects may share a platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting
from eaves.history import MAX_BYTES
from eaves.spool import SpoolLimits, WhenFull
from eaves.spool.limits import DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """Address of the local platform, and limits of the disk space for its queue and records."""

    port: int = setting(
        8480, "TCP port of the broker and of all functions; 0: any free port.", minimum=0, maximum=65535
    )
    host: str = setting(
        "127.0.0.1",
        "Address that the port is opened at. Programs of this machine always reach it at 127.0.0.1, without a token. "
        "0.0.0.0 opens it at every IPv4 address of the machine, :: at every address. Any address off loopback needs "
        "token_file; the token and the images travel unencrypted.",
    )
    token_file: Path | None = setting(
        None,
        "File with the token that callers from other machines must send, as `Authorization: Bearer TOKEN`. A missing "
        "file is created with a random token. Only its owner may be able to read it.",
    )
    zygote: bool = setting(
        True,
        "Keep a process in memory that has the libraries of functions loaded, and fork replicas from it: they start "
        "faster and share its memory. no: each replica is started by its command.",
    )
    log_max_bytes: int = setting(
        10_000_000,
        "Maximum size in bytes of the log of one function or source, in two files; the oldest "
        "lines are deleted. The default holds the last 10,000 predictions of a function, of "
        "about 300 bytes each.",
        minimum=10_000,
    )
    history_max_bytes: int = setting(
        MAX_BYTES,
        "Maximum size of the history in bytes; the oldest records are deleted. The default is "
        "several times the usual size of its 10,000 records.",
        minimum=1_000_000,
    )
    spool_max_bytes: int = setting(
        1_000_000_000,
        "Maximum size in bytes of the events that wait for functions and subscribers; when it "
        "is reached, new events are refused with 429. The default holds two hours of a camera "
        "that sends 140 KB a second.",
        minimum=1_000_000,
    )
    spool_dead_max_bytes: int = setting(
        200_000_000,
        "Maximum size of the dead letters in bytes, in addition to `spool_max_bytes`. The "
        "default is a fifth of `spool_max_bytes`, so that both fit a small card.",
        minimum=0,
    )
    spool_dead_max_age_days: float = setting(
        30.0,
        "Days after which a dead letter is deleted. The default leaves time for a person who looks once a month.",
        minimum=0,
    )
    spool_dead_when_full: str = setting(
        "expire",
        "Action when `spool_dead_max_bytes` is reached: `expire` deletes the oldest dead "
        "letters, and counts and logs each; `refuse` keeps retrying the new event until a "
        "person has made room.",
        choices=("expire", "refuse"),
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        if not self.host.strip():
            yield "host", "must be an address of this machine, or 0.0.0.0 for all of them (got an empty text)"

    def limits(self) -> SpoolLimits:
        """Return the limits of the broker's queue."""
        return SpoolLimits(
            max_bytes=self.spool_max_bytes,
            dead_max_bytes=self.spool_dead_max_bytes,
            dead_max_age_s=self.spool_dead_max_age_days * DAY_S,
            dead_when_full=WhenFull(self.spool_dead_when_full),
        )

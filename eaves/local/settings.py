"""Settings of the local platform. They belong to `eaves up`, not to eaves.yaml: several projects may share one."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.config import setting
from eaves.history import MAX_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How much disk the local platform's records may take."""

    log_max_bytes: int = setting(
        10_000_000,
        "Bytes that the log of one function or source may take, in two files; the oldest lines go. The default holds "
        "the last 10,000 predictions of a function, of about 300 bytes each.",
        minimum=10_000,
    )
    history_max_bytes: int = setting(
        MAX_BYTES,
        "Bytes that the history may take; the oldest records go. The default is several times what its 10,000 "
        "records usually take.",
        minimum=1_000_000,
    )

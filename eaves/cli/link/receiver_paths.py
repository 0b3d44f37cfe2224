"""Where a receiver on this machine keeps its queue and its ledger."""

from __future__ import annotations

from pathlib import Path


def receiver_spool(state_dir: Path) -> Path:
    """The durable queue of a receiver that `eaves receiver run` runs, unless `--spool` says otherwise."""
    return state_dir / "receiver" / "receiver.db"

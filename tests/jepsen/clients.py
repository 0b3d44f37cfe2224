"""Clients that are killed. Each acknowledges what it has done by a line in a journal of its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from eaves.errors import SpoolDamagedError
from eaves.spool import Spool
from tests.jepsen.steps import DOING, NOW, open_spool


def do_steps(argument: dict[str, Any]) -> None:
    """Do the steps that the journal has no line for; write a line after each.

    Args:
        argument: `path` of the spool, whether it has a `ledger`, the `journal` and the `steps`.
    """
    journal = Path(argument["journal"])
    done = len(journal.read_text().splitlines()) if journal.exists() else 0
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open_spool(Path(argument["path"]), ledger=argument["ledger"]) as spool:
        lease = spool.lease("a")
        assert lease.acquire()
        for name, value in argument["steps"][done:]:
            DOING[name](spool, value)
            os.write(handle, f"{name}\n".encode())
        lease.release()


def open_damaged(argument: dict[str, Any]) -> None:
    """Read a damaged spool, which replaces it.

    Args:
        argument: `path` of the spool.
    """
    with Spool(Path(argument["path"])) as spool:
        read_damaged(spool)


def read_damaged(spool: Spool) -> None:
    """Read what is queued: the call that finds the damage fails, and the next one replaces the file."""
    with contextlib.suppress(SpoolDamagedError):
        spool.peek("a", limit=1_000, now=NOW)
    spool.peek("a", limit=1_000, now=NOW)

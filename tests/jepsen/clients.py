"""Clients that are killed. Each acknowledges what it has done by a line in a journal of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eaves.spool import Spool
from tests.jepsen.steps import DOING


def do_steps(argument: dict[str, Any]) -> None:
    """Do the steps that the journal has no line for; write a line after each.

    Args:
        argument: `path` of the spool, `journal`, and the `steps`.
    """
    journal = Path(argument["journal"])
    done = len(journal.read_text().splitlines()) if journal.exists() else 0
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Spool(Path(argument["path"])) as spool:
        lease = spool.lease("a")
        assert lease.acquire()
        for name, value in argument["steps"][done:]:
            DOING[name](spool, value)
            os.write(handle, f"{name}\n".encode())
        lease.release()


def open_spool(argument: dict[str, Any]) -> None:
    """Open a spool, which mends a damaged one, and close it."""
    with Spool(Path(argument["path"])) as spool:
        spool.counts()

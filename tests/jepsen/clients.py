"""Clients that are killed. Each acknowledges what it has done by a line in a journal of its own."""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from eaves.errors import SpoolDamagedError, SpoolError
from eaves.spool import Spool
from tests.jepsen.steps import DOING, open_spool

T = TypeVar("T")
TRIES = 20


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


def do_steps_again(argument: dict[str, Any]) -> None:
    """Do steps on a disk that fails now and then: what raises SpoolError is done again, as a sender does.

    Args:
        argument: `path` of the spool, whether it has a `ledger`, the `steps`, and the `journal`, which gets a line for
            each failure.
    """
    handle = os.open(argument["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    spool = _again(handle, lambda: open_spool(Path(argument["path"]), ledger=argument["ledger"]))
    for name, value in argument["steps"]:
        _again(handle, partial(DOING[name], spool, value))
    spool.close()


def _again(handle: int, action: Callable[[], T]) -> T:
    for _ in range(TRIES):
        try:
            return action()
        except SpoolError as error:
            os.write(handle, f"{error.message}\n".encode())
    raise AssertionError("the disk works again, and the spool doesn't")


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
        spool.peek("a", limit=1_000)
    spool.peek("a", limit=1_000)

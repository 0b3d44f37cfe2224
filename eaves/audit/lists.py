"""Functions that read a list of events from a file of JSON lines, a spool, a queue, or a receiver over the link."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from eaves.base.backoff import Backoff
from eaves.base.clock import StopFlag
from eaves.errors import DeliveryError, InputError, NotFoundError, StatusError
from eaves.link.ledger_lines import parse_line, read_lines
from eaves.spool import LedgerLine, Spool

PAGE = 5_000
"""Number of ledger lines that one request asks for, about a megabyte."""
PATIENCE = Backoff(retry=5, first_s=0.5, cap_s=8.0)
"""Retries of a request for ledger lines over an unreliable link."""
_SQLITE = b"SQLite format 3\0"
"""First bytes of a spool's file. Source: sqlite.org/fileformat.html, section 1.3."""


class LedgerReader(Protocol):
    """Interface of `eaves.link.client.LinkClient` that the audit needs."""

    def read_ledger(self, after: int = 0, limit: int = 10_000) -> Sequence[dict[str, Any]]:
        """Return ledger lines with a higher number than `after`, at most `limit`."""


def read_pages(read: Callable[[int], Sequence[LedgerLine]], *, after: int = 0) -> Iterator[LedgerLine]:
    """Yield all the lines of a ledger.

    Args:
        read: Returns some lines with a higher number than the given one, in order; empty after the last.
        after: Number after which to begin.
    """
    while lines := read(after):
        yield from lines
        if lines[-1].number <= after:
            raise InputError("the numbers in the ledger are not in ascending order", hint="export the ledger again")
        after = lines[-1].number


def read_file(path: Path) -> Iterator[LedgerLine]:
    """Yield the lines of a file: JSON lines, or a spool that keeps a ledger.

    Raises:
        InputError: When the file can't be read.
        NotFoundError: When the file is a spool without a ledger.
    """
    try:
        with path.open("rb") as stream:
            is_spool = stream.read(len(_SQLITE)) == _SQLITE
            stream.seek(0)
            if not is_spool:
                yield from read_lines(stream, str(path))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", hint=f"ls -l {path}") from error
    if is_spool:
        yield from read_spool(path)


def read_spool(path: Path) -> Iterator[LedgerLine]:
    """Yield the lines of a spool's ledger, whether a process uses the spool or not.

    Raises:
        SpoolError: When the spool can't be opened.
        NotFoundError: When the spool has no ledger.
    """
    with Spool(path) as spool:
        ledger = spool.ledger
        if ledger is None:
            raise NotFoundError(
                f"{path} holds no ledger", hint=("name the spool of a relay or a receiver; only those hold a ledger")
            )
        yield from read_pages(lambda after: ledger.read(after=after, limit=PAGE))


def read_stream(stream: BinaryIO) -> Iterator[LedgerLine]:
    """Yield the JSON lines of standard input."""
    return read_lines(stream, "standard input")


def read_receiver(receiver: LedgerReader, address: str, *, patience: Backoff = PATIENCE) -> Iterator[LedgerLine]:
    """Yield the lines of a receiver's ledger about the caller's site, over the link.

    Args:
        receiver: Client of the receiver.
        address: Name of the receiver in errors.
        patience: Retries of a request for a page of lines that failed.

    Raises:
        DeliveryError: When the receiver can't be asked.
    """
    return read_pages(lambda after: _ask(receiver, address, after, patience))


def _ask(receiver: LedgerReader, address: str, after: int, patience: Backoff) -> list[LedgerLine]:
    pause, failures = StopFlag(), 0
    while True:
        try:
            return [_line(values, address) for values in receiver.read_ledger(after, PAGE)]
        except DeliveryError as error:
            failures += 1
            if isinstance(error, StatusError) or patience.exhausted(failures):
                raise
            pause.wait(patience.pause_s(failures))


def _line(values: Any, address: str) -> LedgerLine:
    try:
        return parse_line(values)
    except ValueError as error:
        raise InputError(
            f"{address} didn't answer with a ledger: {error}",
            hint="check that the address is the address of a receiver",
        ) from error

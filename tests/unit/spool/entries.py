"""Events, entries and ledger lines of the tests of the spool."""

from typing import Any

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Entry, Ledger, LedgerLimits, LedgerLine, Spool

NOW = 1_000_000.0
BOUND = LedgerLimits(max_entries=1_000)


def image(number: int = 0, size_bytes: int = 10, **fields: Any) -> Event:
    known = {"id": f"id-{number}", "source": "/eaves/site/camera", "type": IMAGE_CAPTURED, "data": b"x" * size_bytes}
    return Event(**{**known, **fields})


def ids(entries: list[Entry]) -> list[str]:
    return [entry.event.id for entry in entries]


def run(spool: Spool, sql: str) -> None:
    """Change a table behind the spool's back."""
    spool.database().commit(lambda db: db.execute(sql))


def ledger_of(spool: Spool) -> Ledger:
    assert spool.ledger is not None
    return spool.ledger


def lines(spool: Spool) -> list[LedgerLine]:
    return ledger_of(spool).read()


def states(spool: Spool) -> dict[str, str]:
    found: dict[str, str] = {line.id: line.state for line in lines(spool)}
    assert ledger_of(spool).counts().lines == len(lines(spool))
    return found

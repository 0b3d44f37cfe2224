"""Events and lines of the tests of the ledger."""

from __future__ import annotations

from eaves.events import IMAGE_CAPTURED, Event
from eaves.spool import Ledger, LedgerLimits, LedgerLine, Spool

NOW = 1_000_000.0
BOUND = LedgerLimits(max_entries=1_000)


def image(number: int, data: bytes = b"x", source: str = "/eaves/site/camera") -> Event:
    return Event(id=f"id-{number}", source=source, type=IMAGE_CAPTURED, data=data)


def ledger_of(spool: Spool) -> Ledger:
    assert spool.ledger is not None
    return spool.ledger


def lines(spool: Spool) -> list[LedgerLine]:
    return ledger_of(spool).read()


def states(spool: Spool) -> dict[str, str]:
    found: dict[str, str] = {line.id: line.state for line in lines(spool)}
    counted = ledger_of(spool).counts()
    for state in ("queued", "released", "dead", "removed", "lost"):
        assert getattr(counted, state) == list(found.values()).count(state)
    return found

"""Interface of a queue for operators, and its implementation on a spool in this process."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from eaves.admin.report import LinkReport, QueueReport, SourceReport, build_report
from eaves.admin.selector import DEAD, QUEUED, Selector
from eaves.delivery.sink_state import LaneDelivery
from eaves.errors import InputError, NotFoundError
from eaves.spool import Ledger, LedgerLine, Selection, Spool
from eaves.spool.admin import drop, list_entries, measure, redrive, retry_now

LIMIT = 100
"""Default for the maximum number of entries in a listing."""
LEDGER_LIMIT = 5_000
"""Default for the maximum number of ledger lines per request, about a megabyte."""


class Action(enum.Enum):
    """Action that an operator applies to chosen entries of a queue."""

    RETRY = "retry"
    """Queue dead letters again, and make entries that wait for a retry due now."""
    DROP = "drop"
    """Delete dead letters."""
    PURGE = "purge"
    """Delete entries in any state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Number and size of the entries that an action has changed, or would change when it only counts them.

    Attributes:
        entries: Number of changed entries.
        size_bytes: Size of their data and attributes, bytes.
    """

    entries: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryContent:
    """One entry with all its properties.

    Attributes:
        entry: Entry as in a listing: `eaves.spool.Stored` as plain data.
        attributes: Attributes of the event, including extensions.
        data: Data of the event.
    """

    entry: Mapping[str, Any]
    attributes: Mapping[str, str]
    data: bytes


class Queue(Protocol):
    """Interface of a queue for operators. Every method raises EavesError when the queue can't be reached or changed."""

    def report(self) -> QueueReport:
        """Return the contents of each lane and the state of its delivery."""

    def entries(self, chosen: Selector, *, limit: int = LIMIT) -> Sequence[Mapping[str, Any]]:
        """Return the chosen entries without their data, in the order they were put, at most `limit`."""

    def entry(self, seq: int) -> EntryContent:
        """Return one entry with its data. Raises NotFoundError when there is no entry with that number."""

    def change(self, action: Action, chosen: Selector, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Apply an action to the chosen entries, or with `dry_run` only count them.

        Raises InputError when neither a selection nor `everything` is given.
        """

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Return ledger lines with a higher number than `after`, in order. Raises NotFoundError without a ledger."""


@runtime_checkable
class EventTracer(Protocol):
    """Interface of a queue that can be asked about one event cheaply; queues behind a command in a pod can't."""

    def trace(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the ledger line of one event; None when it has none. Raises NotFoundError without a ledger."""


class SpoolQueue:
    """Implements `Queue` and `EventTracer` on an open spool.

    Args:
        spool: Open spool.
        deliveries: Returns the reports of the lanes' deliveries; empty when this process delivers none.
        sources: Returns the report of each source; empty without sources.
        link: Returns the report on the link that the spool is forwarded over; None without a link.
        try_now: Ends the pause of a lane, or of all lanes when it is called with "".
    """

    def __init__(
        self,
        spool: Spool,
        *,
        deliveries: Callable[[], Iterable[LaneDelivery]] = tuple,
        sources: Callable[[], Iterable[SourceReport]] = tuple,
        link: Callable[[], LinkReport | None] = lambda: None,
        try_now: Callable[[str], object] = lambda lane: None,
    ) -> None:
        self._spool = spool
        self._deliveries = deliveries
        self._sources = sources
        self._link = link
        self._try_now = try_now

    def report(self) -> QueueReport:
        """Return the contents of each lane and the state of its delivery."""
        now = self._spool.clock.now()
        return build_report(self._spool, self._deliveries(), self._sources(), now, link=self._link())

    def entries(self, chosen: Selector, *, limit: int = LIMIT) -> Sequence[Mapping[str, Any]]:
        """Return the chosen entries without their data."""
        selection = chosen.to_selection(self._spool.clock.now())
        return [asdict(stored) for stored in list_entries(self._spool, selection, limit=limit)]

    def entry(self, seq: int) -> EntryContent:
        """Return one entry with its data.

        Raises:
            NotFoundError: When there is no entry with that number.
            SpoolError: When the entry is damaged.
        """
        listed = list_entries(self._spool, Selection(seqs=(seq,)), limit=1)
        found = self._spool.get(seq)
        if not listed or found is None:
            raise NotFoundError(f"the queue has no entry {seq}", hint="eaves queue list")
        event = found.event
        return EntryContent(entry=asdict(listed[0]), attributes=dict(event.attributes()), data=event.data)

    def change(self, action: Action, chosen: Selector, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Apply an action to the chosen entries, or only count them.

        Raises:
            InputError: When neither a selection nor `everything` says which entries to delete.
        """
        check_change(action, chosen, everything=everything)
        selection = chosen.to_selection(self._spool.clock.now())
        if action is Action.DROP:
            selection = selection.narrow(state=DEAD, after=0)
        entries, size_bytes = measure(self._spool, selection)
        if not dry_run:
            entries = _ACTIONS[action](self._spool, selection, chosen)
            if action is Action.RETRY:
                self._try_now(chosen.lane)
        return Changed(entries=entries, size_bytes=size_bytes)

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Return lines of the spool's ledger.

        Raises:
            NotFoundError: When the spool has no ledger.
        """
        return self._ledger().read(after=after, limit=limit)

    def trace(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the ledger line of one event; None when it has none.

        Raises:
            NotFoundError: When the spool has no ledger.
        """
        return self._ledger().find(source, event_id)

    def _ledger(self) -> Ledger:
        if self._spool.ledger is None:
            raise NotFoundError(
                f"{self._spool.path} holds no ledger",
                hint=("name the spool of a relay or a receiver; only those hold a ledger"),
            )
        return self._spool.ledger


def check_change(action: Action, chosen: Selector, *, everything: bool) -> None:
    """Refuse an action that doesn't say which entries it applies to.

    Raises:
        InputError: When neither a selection nor `everything` is given, when a purge names no lane, or when only queued
            entries are to be dropped.
    """
    if chosen.is_everything and not everything:
        raise InputError(
            f"{action.value}: no entries are selected", hint=("name the entries, or select every entry with --all")
        )
    if action is Action.PURGE and not (chosen.lane or everything):
        raise InputError("purge: no lane is selected", hint=("name the lane to empty, or select every lane with --all"))
    if action is Action.DROP and chosen.state == QUEUED:
        raise InputError(
            "drop deletes dead letters only, not waiting entries",
            hint="delete waiting entries with `eaves queue purge`",
        )


def _retry(spool: Spool, selection: Selection, chosen: Selector) -> int:
    waiting = 0 if chosen.state == DEAD else retry_now(spool, selection)
    return waiting + (0 if chosen.state == QUEUED else redrive(spool, selection))


def _delete(spool: Spool, selection: Selection, _: Selector) -> int:
    return drop(spool, selection)


_ACTIONS: Mapping[Action, Callable[[Spool, Selection, Selector], int]] = {
    Action.RETRY: _retry,
    Action.DROP: _delete,
    Action.PURGE: _delete,
}

"""A queue as an operator works on it: the Protocol, and the one that works on a spool in this process."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from eaves.admin.report import LinkReport, QueueReport, SourceReport, build_report
from eaves.admin.selector import DEAD, QUEUED, Selector
from eaves.delivery.status import LaneDelivery
from eaves.errors import InputError, NotFoundError
from eaves.spool import LedgerLine, Selection, Spool
from eaves.spool.admin import drop, list_entries, measure, redrive, retry_now

LIMIT = 100
"""Entries that a listing has when nothing else is asked for."""
LEDGER_LIMIT = 5_000
"""Lines of the ledger at a time when nothing else is asked for: about a megabyte."""


class Action(enum.Enum):
    """What can be done with chosen entries."""

    RETRY = "retry"
    """Queue dead letters again, and make entries that back off due now."""
    DROP = "drop"
    """Delete dead letters."""
    PURGE = "purge"
    """Delete entries in any state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What an action was about.

    Attributes:
        entries: How many.
        size_bytes: Their data and attributes.
    """

    entries: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryContent:
    """One entry with everything that is known of it.

    Attributes:
        entry: As in a listing: `eaves.spool.Stored` as plain data.
        attributes: The event's, extensions included.
        data: The event's.
    """

    entry: Mapping[str, Any]
    attributes: Mapping[str, str]
    data: bytes


class Queue(Protocol):
    """One queue. Everything raises EavesError when it can't be reached or changed."""

    def report(self) -> QueueReport:
        """What each lane holds and whether it is delivered."""

    def entries(self, chosen: Selector, *, limit: int = LIMIT) -> Sequence[Mapping[str, Any]]:
        """The chosen entries without their data, in the order they were put, at most `limit`."""

    def entry(self, seq: int) -> EntryContent:
        """One entry with its data. Raises NotFoundError when there is none of that number."""

    def change(self, action: Action, chosen: Selector, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Do something with the chosen entries, or with `dry_run` only count them.

        Raises InputError when neither a selection nor `everything` is given.
        """

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Lines of its ledger with a higher number than `after`, in order; NotFoundError when it keeps none."""


class SpoolQueue:
    """Implements `Queue` on an open spool.

    Args:
        spool: The spool.
        deliveries: Gives what the lanes' deliveries report; nothing when this process delivers none.
        sources: Gives what each source reports; nothing without one.
        link: Gives how the link is doing that it is forwarded over; None without one.
        try_now: Called with a lane, or with "" for all, whose pause is not to be waited for any longer.
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
        """What each lane holds and whether it is delivered."""
        now = self._spool.clock.now()
        return build_report(self._spool, self._deliveries(), self._sources(), now, link=self._link())

    def entries(self, chosen: Selector, *, limit: int = LIMIT) -> Sequence[Mapping[str, Any]]:
        """The chosen entries without their data."""
        selection = chosen.to_selection(self._spool.clock.now())
        return [asdict(stored) for stored in list_entries(self._spool, selection, limit=limit)]

    def entry(self, seq: int) -> EntryContent:
        """One entry with its data.

        Raises:
            NotFoundError: When there is none of that number.
            SpoolError: When it is damaged.
        """
        listed = list_entries(self._spool, Selection(seqs=(seq,)), limit=1)
        found = self._spool.get(seq)
        if not listed or found is None:
            raise NotFoundError(f"the queue has no entry {seq}", hint="eaves queue list")
        event = found.event
        return EntryContent(entry=asdict(listed[0]), attributes=dict(event.attributes()), data=event.data)

    def change(self, action: Action, chosen: Selector, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Do something with the chosen entries, or only count them.

        Raises:
            InputError: When nothing says which entries are to be deleted.
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
        """Lines of the spool's ledger.

        Raises:
            NotFoundError: When it keeps none.
        """
        if self._spool.ledger is None:
            raise NotFoundError(f"{self._spool.path} keeps no ledger", hint="relays and receivers keep one")
        return self._spool.ledger.read(after=after, limit=limit)


def check_change(action: Action, chosen: Selector, *, everything: bool) -> None:
    """Refuse an action that doesn't say which entries it is for.

    Raises:
        InputError: When neither a selection nor `everything` is given, when a purge names no lane, or when only queued
            entries are to be dropped.
    """
    if chosen.is_everything and not everything:
        raise InputError(f"{action.value}: nothing says which entries", hint="name some of them, or --all")
    if action is Action.PURGE and not (chosen.lane or everything):
        raise InputError("purge needs the lane that it empties", hint="name the lane, or --all")
    if action is Action.DROP and chosen.state == QUEUED:
        raise InputError("drop deletes dead letters only", hint="purge deletes queued entries too")


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

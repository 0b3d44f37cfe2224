"""A queue for operators: on a spool, or in another process by the one JSON form of a request to it.

A request is a JSON object such as `{"do": "list", "state": "dead", "limit": 10}`, with the fields of `QueueRequest`.
The answer is the JSON of what the method of the queue returns. `RemoteQueue` writes requests, `answer_request` answers
them. They travel over a process's Unix socket (`eaves.admin.client`), or as the argument of a command that
`kubectl exec` runs in its container (`eaves.sources.queue`).
"""

from __future__ import annotations

import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn, TypeVar

from eaves.admin.report import LinkReport, QueueReport, SourceReport, build_report, from_json, to_json
from eaves.delivery.sink_state import LaneDelivery
from eaves.errors import EavesError, InputError, NotFoundError, PlatformError
from eaves.problem_document import parse_problem
from eaves.spool import Ledger, LedgerLine, Selection, Spool
from eaves.spool.admin import Stored, drop, list_entries, measure, redrive, retry_now
from eaves.spool.schema import DEAD, QUEUED

T = TypeVar("T")

LIMIT, MAX_LIMIT = 100, 10_000
"""Default and maximum number of entries in a listing; their attributes take up to some kilobytes each."""
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
class QueueRequest(Selection):
    """One request, with the entries that it is about.

    Attributes:
        do: `status`, `list`, `show`, `retry`, `drop`, `purge`, `ledger` or `trace`.
        limit: Maximum number of entries or lines; 0 for the default.
        all: Whether the action is meant for every entry when nothing is selected.
        dry_run: Whether entries are only counted.
        id: Id of the event to trace, whose source is `source`.
    """

    do: str = "status"
    limit: int = 0
    all: bool = False
    dry_run: bool = False
    id: str = ""


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
        entry: Entry as in a listing.
        attributes: Attributes of the event, including extensions.
        data: Data of the event.
    """

    entry: Stored
    attributes: Mapping[str, str]
    data: bytes


class SpoolQueue:
    """A queue on an open spool. Every method raises EavesError when the queue can't be read or changed.

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
        return build_report(self._spool, self._deliveries(), self._sources(), self._link())

    def entries(self, chosen: Selection, *, limit: int = LIMIT) -> Sequence[Stored]:
        """Return the chosen entries without their data, in the order they were put, at most `limit`."""
        return list_entries(self._spool, chosen, limit=limit)

    def entry(self, seq: int) -> EntryContent:
        """Return one entry with its data; a NotFoundError without it, a SpoolError when it is damaged."""
        listed = list_entries(self._spool, Selection(seqs=(seq,)), limit=1)
        found = self._spool.get(seq)
        if not listed or found is None:
            raise NotFoundError(f"the queue has no entry {seq}", hint="eaves queue list")
        return EntryContent(entry=listed[0], attributes=dict(found.event.attributes()), data=found.event.data)

    def change(self, action: Action, chosen: Selection, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Apply an action to the chosen entries, or with `dry_run` only count them.

        Raises:
            InputError: When neither a selection nor `everything` says which entries to delete.
        """
        _check_change(action, chosen, everything=everything)
        if action is Action.DROP:
            chosen = replace(chosen, state=DEAD)
        entries, size_bytes = measure(self._spool, chosen)
        if dry_run:
            return Changed(entries=entries, size_bytes=size_bytes)
        if action is not Action.RETRY:
            return Changed(entries=drop(self._spool, chosen), size_bytes=size_bytes)
        entries = retry_now(self._spool, chosen) + redrive(self._spool, chosen)
        self._try_now(chosen.lane)
        return Changed(entries=entries, size_bytes=size_bytes)

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Return ledger lines with a higher number than `after`, in order; a NotFoundError without a ledger."""
        return self._require_ledger().read(after=after, limit=limit)

    def trace(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the ledger line of one event; None when it has none. A NotFoundError without a ledger."""
        return self._require_ledger().find(source, event_id)

    def _require_ledger(self) -> Ledger:
        if self._spool.ledger is None:
            raise NotFoundError(
                f"{self._spool.path} holds no ledger",
                hint=("name the spool of a relay or a receiver; only those hold a ledger"),
            )
        return self._spool.ledger


def _check_change(action: Action, chosen: Selection, *, everything: bool) -> None:
    """Refuse an action that doesn't say which entries it applies to."""
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


class RemoteQueue(ABC):
    """A queue with the methods of `SpoolQueue`, by requests to the process that delivers it.

    Args:
        name: Name of the process, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @abstractmethod
    def _send(self, request: str) -> bytes:
        """Return the process's answer to a request.

        Raises:
            EavesError: When the process can't be reached, or refuses the request.
        """

    def report(self) -> QueueReport:
        """Return the contents of each lane and the state of its delivery."""
        return self._ask(QueueReport, "status")

    def entries(self, chosen: Selection, *, limit: int = LIMIT) -> Sequence[Stored]:
        """Return the chosen entries without their data."""
        return self._ask(tuple[Stored, ...], "list", chosen, limit=limit)

    def entry(self, seq: int) -> EntryContent:
        """Return one entry with its data."""
        return self._ask(EntryContent, "show", seqs=(seq,))

    def change(self, action: Action, chosen: Selection, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Apply an action to the chosen entries, or only count them."""
        return self._ask(Changed, action.value, chosen, all=everything, dry_run=dry_run)

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Return lines of the queue's ledger."""
        return self._ask(tuple[LedgerLine, ...], "ledger", after=after, limit=limit)

    def trace(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the ledger line of one event; None when it has none."""
        kind: Any = LedgerLine | None
        found: LedgerLine | None = self._ask(kind, "trace", source=source, id=event_id)
        return found

    def _ask(self, kind: type[T], do: str, chosen: Selection | None = None, **values: Any) -> T:
        given = {one.name: getattr(chosen, one.name) for one in fields(Selection)} if chosen is not None else {}
        default = {one.name: one.default for one in fields(QueueRequest)}
        asked = {name: value for name, value in {**given, **values}.items() if value != default[name]}
        body = self._send(json.dumps({"do": do, **asked}))
        try:
            return from_json(kind, json.loads(body))
        except ValueError as error:
            raise PlatformError(f"{self._name} gave an answer that can't be read: {str(error)[:200]}") from error


Queue = SpoolQueue | RemoteQueue
"""A queue for operators, wherever it is."""


def answer_request(queue: Queue, text: str) -> Any:
    """Answer a request of a `RemoteQueue` with plain data.

    Raises:
        InputError: When the text isn't a request.
        EavesError: When the queue refuses it.
    """
    try:
        request: QueueRequest = from_json(QueueRequest, json.loads(text), exact=True)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a request to a queue: {str(error)[:300]}") from error
    if not 0 <= request.limit <= MAX_LIMIT:
        raise InputError(f"limit must be from 1 to {MAX_LIMIT} (got {str(request.limit)[:64]})")
    if request.do in {one.value for one in Action}:
        action = Action(request.do)
        return to_json(queue.change(action, request, everything=request.all, dry_run=request.dry_run))
    if request.do == "show" and len(request.seqs) != 1:
        raise InputError("show needs the number of one entry in seqs")
    answers: Mapping[str, Callable[[], Any]] = {
        "status": queue.report,
        "list": lambda: queue.entries(request, limit=request.limit or LIMIT),
        "show": lambda: queue.entry(request.seqs[0]),
        "ledger": lambda: queue.ledger(after=request.after, limit=request.limit or LEDGER_LIMIT),
        "trace": lambda: queue.trace(request.source, request.id),
    }
    if request.do not in answers:
        raise InputError(f"a queue can't {request.do[:64]!r}", hint=f"do: {', '.join([*answers, *Action.__members__])}")
    return to_json(answers[request.do]())


def raise_refusal(body: bytes, status: int = 0, *, name: str = "") -> NoReturn:
    """Raise the error that a problem document describes, the answer of a process that refused a request.

    Args:
        body: The document.
        status: Status of the answer; 0 for that of the document.
        name: Name of the process, for the message.
    """
    document = parse_problem(body)
    status = status or document.get("status", 0)
    detail = str(document.get("detail") or "")[:500] or f"answered {status}: {body[:200].decode(errors='replace')}"
    kinds: Mapping[int, type[EavesError]] = {400: InputError, 404: NotFoundError}
    raise kinds.get(status, PlatformError)(
        f"{name}: {detail}" if name else detail, hint=str(document.get("hint") or "")[:200] or None
    )

"""Client of a queue that another process delivers; it asks that process over a Unix socket.

When no process delivers the queue, `open_queue` opens the spool's file directly.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

from eaves.admin.agent import HEALTH, LIVE
from eaves.admin.queue import LEDGER_LIMIT, LIMIT, Action, Changed, EntryContent, SpoolQueue
from eaves.admin.report import QueueReport, parse_report
from eaves.admin.routes import LEDGER, LEDGER_EVENT, PREFIX
from eaves.admin.selector import Selector
from eaves.admin.unix_socket import ask_socket
from eaves.errors import EavesError, InputError, NotFoundError, NotRunningError, PlatformError
from eaves.link.ledger_lines import parse_line, read_lines
from eaves.spool import Lease, LedgerLine, Spool
from eaves.web.problem_document import parse_problem

TIMEOUT_S = 60.0
"""Time limit of one request, seconds; purging a million entries takes about as long."""


class SocketQueue:
    """Implements `Queue` and `EventTracer` by asking the process that listens on a Unix socket.

    Args:
        path: Path of the socket.
        timeout_s: Maximum wait for an answer, seconds.
    """

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def report(self) -> QueueReport:
        """Return the contents of each lane and the state of its delivery.

        Raises:
            NotRunningError: When no process listens on the socket.
            PlatformError: When the answer can't be used.
        """
        try:
            return parse_report(self._json("GET", PREFIX))
        except ValueError as error:
            raise PlatformError(f"{self._path} answered with invalid JSON: {error}") from error

    def entries(self, chosen: Selector, *, limit: int = LIMIT) -> Sequence[Mapping[str, Any]]:
        """Return the chosen entries without their data."""
        found: list[dict[str, Any]] = self._json("GET", f"{PREFIX}/entries", {**chosen.to_query(), "limit": str(limit)})
        return found

    def entry(self, seq: int) -> EntryContent:
        """Return one entry with its data.

        Raises:
            NotFoundError: When there is no entry with that number.
        """
        about = self._json("GET", f"{PREFIX}/entries/{seq}")
        data = self._request("GET", f"{PREFIX}/entries/{seq}/data")
        return EntryContent(entry=about["entry"], attributes=about["attributes"], data=data)

    def change(self, action: Action, chosen: Selector, *, everything: bool = False, dry_run: bool = False) -> Changed:
        """Apply an action to the chosen entries, or only count them.

        Raises:
            InputError: When neither a selection nor `everything` says which entries to delete.
        """
        flags = {"all": str(everything).lower(), "dry_run": str(dry_run).lower()}
        return Changed(**self._json("POST", f"{PREFIX}/{action.value}", {**chosen.to_query(), **flags}))

    def ledger(self, *, after: int = 0, limit: int = LEDGER_LIMIT) -> Sequence[LedgerLine]:
        """Return lines of the queue's ledger.

        Raises:
            NotFoundError: When the queue has no ledger.
        """
        body = self._request("GET", LEDGER, {"after": str(after), "limit": str(limit)})
        return list(read_lines(io.BytesIO(body), str(self._path)))

    def trace(self, source: str, event_id: str) -> LedgerLine | None:
        """Return the ledger line of one event; None when it has none.

        Raises:
            NotFoundError: When the queue has no ledger.
            PlatformError: When the answer can't be used.
        """
        found = self._json("GET", LEDGER_EVENT, {"source": source, "id": event_id})
        try:
            values = found["line"]
            return None if values is None else replace(parse_line(values), changed_at=float(values["changed_at"]))
        except (LookupError, TypeError, ValueError) as error:
            raise PlatformError(f"{self._path} answered with a line that can't be read: {error}") from error

    def health(self) -> Mapping[str, Any]:
        """Return the process's report on its health, whether it is healthy or not.

        Raises:
            NotRunningError: When no process listens on the socket.
            PlatformError: When the answer can't be used.
        """
        found = self._parse(self._request("GET", HEALTH, allowed=(503,)))
        if not isinstance(found, dict):
            raise PlatformError(f"{self._path} answered with JSON that is not an object")
        return found

    def _json(self, method: str, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._parse(self._request(method, path, query))

    def _parse(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError as error:
            raise PlatformError(f"{self._path} answered with {len(body)} bytes that are not JSON") from error

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, *, allowed: Sequence[int] = ()
    ) -> bytes:
        target = f"{path}?{urlencode(query)}" if query else path
        answer = ask_socket(self._path, method, target, timeout_s=self._timeout_s)
        if answer.status >= 300 and answer.status not in allowed:
            _raise(answer.status, answer.body)
        return answer.body


def list_hung_parts(path: Path, *, timeout_s: float) -> list[str]:
    """Return the reasons to restart the process that listens on a Unix socket.

    The list is empty when there are none, or when the process doesn't answer.

    Args:
        path: Path of the socket.
        timeout_s: Maximum wait for an answer, seconds.
    """
    try:
        answer = ask_socket(path, "GET", LIVE, timeout_s=timeout_s)
        return list(map(str, json.loads(answer.body)["reasons"])) if answer.status == 503 else []
    except (PlatformError, ValueError, KeyError, TypeError):
        return []


@contextmanager
def open_queue(
    spool: Path, socket: Path, leases: Sequence[Path], *, timeout_s: float = TIMEOUT_S
) -> Iterator[SocketQueue | SpoolQueue]:
    """Yield the queue of a spool: through the socket while a process delivers it, from the file otherwise.

    While the file is open here, its leases are held, so no process begins to deliver it.

    Args:
        spool: Path of the spool's file.
        socket: Path of the socket of the process that delivers the spool.
        leases: Lock files of that process.
        timeout_s: Maximum wait for an answer of that process, seconds.

    Raises:
        NotFoundError: When the file doesn't exist.
        PlatformError: When a process delivers the spool and doesn't answer.
    """
    running = SocketQueue(socket, timeout_s=timeout_s)
    try:
        running.report()
    except NotRunningError:
        pass
    else:
        yield running
        return
    if not spool.is_file():
        raise NotFoundError(f"there is no queue {spool}", hint="eaves status")
    with ExitStack() as stack:
        for path in leases:
            lease = Lease(path)
            if not lease.acquire():
                raise PlatformError(
                    f"a process delivers the queue {spool}, but no process listens on its admin socket {socket}",
                    hint=("restart the process that delivers this queue"),
                )
            stack.callback(lease.release)
        yield SpoolQueue(stack.enter_context(Spool(spool)))


def _raise(status: int, body: bytes) -> NoReturn:
    document = parse_problem(body)
    detail = str(document.get("detail") or "")[:500] or f"answered {status}: {body[:200].decode(errors='replace')}"
    hint = str(document.get("hint") or "")[:200]
    kinds: Mapping[int, type[EavesError]] = {400: InputError, 404: NotFoundError}
    raise kinds.get(status, PlatformError)(detail, hint=hint or None)

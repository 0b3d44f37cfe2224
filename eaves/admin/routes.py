"""Routes of a queue over HTTP, for any server: a request in, a response out, both plain values.

    GET  /queues                   report of every lane, and of every source
    GET  /queues/entries           entries without their data; query: the fields of `Selector`, limit
    GET  /queues/entries/N         one entry and its event's attributes
    GET  /queues/entries/N/data    its event's data, with its content type
    GET  /queues/ledger            what became of each event, as JSON lines; query: after, a line's number, and limit
    GET  /queues/ledger/event      what became of one event; query: source and id
    POST /queues/retry             queue dead letters again, make entries that wait for a retry due; query: as above
    POST /queues/drop              delete dead letters; also all=true, dry_run=true
    POST /queues/purge             delete entries in any state; needs lane, or all=true

A caller of these routes may delete images, so they are served only on sockets of mode 0600.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

from eaves.admin.queue import LEDGER_LIMIT, LIMIT, Action, EventTracer, Queue
from eaves.admin.selector import Selector, parse_selector, parse_seq
from eaves.errors import EavesError, InputError, NotFoundError
from eaves.spool.ledger import encode_lines, to_dict
from eaves.web.problem_document import CONTENT_TYPE, build_problem, error_type

PREFIX = "/queues"
LEDGER = f"{PREFIX}/ledger"
LEDGER_EVENT = f"{LEDGER}/event"
JSON_LINES = "application/jsonl"
MAX_LIMIT = 10_000
"""Maximum number of entries in one listing; their attributes take up to some kilobytes each."""
_ENTRY = re.compile(r"/queues/entries/([0-9]+)(/data)?")
_SAFE_TYPE = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminResponse:
    """Response to a request.

    Attributes:
        status: HTTP status.
        content_type: Media type of the body.
        body: Bytes of the body.
    """

    status: int
    content_type: str
    body: bytes


def answer(queue: Queue, method: str, path: str, query: str) -> AdminResponse:
    """Answer one request.

    Args:
        queue: Queue that the request is about.
        method: `GET` or `POST`.
        path: Path of the request, without its query.
        query: Text after `?` in the target.
    """
    try:
        given = dict(parse_qsl(query, keep_blank_values=True))
        if method == "POST" and path in _ACTIONS:
            return _change(queue, _ACTIONS[path], given)
        if method == "GET" and path in _LISTS:
            return answer_json(_LISTS[path](queue, given))
        if method == "GET" and path == LEDGER:
            return _ledger(queue, given)
        if method == "GET" and path == LEDGER_EVENT:
            return _trace(queue, given)
        if method == "GET" and (found := _ENTRY.fullmatch(path)):
            return _entry(queue, found[1], data=bool(found[2]))
        return answer_problem(404, f"no such endpoint: {method} {path[:128]}")
    except EavesError as error:
        return answer_problem(error.http_status, error.message, error.hint, kind=error_type(type(error)))


def answer_json(value: Any, status: int = 200) -> AdminResponse:
    """Build a JSON response from plain data."""
    return AdminResponse(status=status, content_type="application/json", body=json.dumps(value).encode())


def answer_problem(status: int, detail: str, hint: str | None = None, *, kind: str = "") -> AdminResponse:
    """Build a response with a problem document; the arguments are those of `build_problem`."""
    return AdminResponse(status=status, content_type=CONTENT_TYPE, body=build_problem(status, detail, hint, kind=kind))


def _report(queue: Queue, given: Mapping[str, str]) -> Any:
    if given:
        raise InputError(f"{PREFIX} accepts no query parameters")
    return queue.report().to_dict()


def _entries(queue: Queue, given: Mapping[str, str]) -> Any:
    chosen, rest = _split(given)
    limit = parse_seq(rest.get("limit", str(LIMIT)))
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit must be from 1 to {MAX_LIMIT} (got {limit})")
    return list(queue.entries(chosen, limit=limit))


def _entry(queue: Queue, number: str, *, data: bool) -> AdminResponse:
    content = queue.entry(parse_seq(number))
    if not data:
        return answer_json({"entry": dict(content.entry), "attributes": dict(content.attributes)})
    kind = content.attributes.get("datacontenttype") or ""
    known = kind if _SAFE_TYPE.fullmatch(kind) else "application/octet-stream"
    return AdminResponse(status=200, content_type=known, body=content.data)


def _ledger(queue: Queue, given: Mapping[str, str]) -> AdminResponse:
    if unknown := sorted(given.keys() - {"after", "limit"}):
        raise InputError(
            f"the ledger has no query parameter {unknown[0][:64]!r}", hint="query parameters: after, limit"
        )
    after, limit = parse_seq(given.get("after", "0")), parse_seq(given.get("limit", str(LEDGER_LIMIT)))
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit must be from 1 to {MAX_LIMIT} (got {limit})")
    return AdminResponse(status=200, content_type=JSON_LINES, body=encode_lines(queue.ledger(after=after, limit=limit)))


def _trace(queue: Queue, given: Mapping[str, str]) -> AdminResponse:
    if given.keys() != {"source", "id"} or not all(given.values()):
        raise InputError("the query needs source and id of the event, and nothing else")
    if not isinstance(queue, EventTracer):
        raise NotFoundError("this queue can't be asked about one event")
    line = queue.trace(given["source"], given["id"])
    return answer_json({"line": None if line is None else {**to_dict(line), "changed_at": line.changed_at}})


def _change(queue: Queue, action: Action, given: Mapping[str, str]) -> AdminResponse:
    chosen, rest = _split(given)
    everything, dry_run = _flag(rest, "all"), _flag(rest, "dry_run")
    return answer_json(asdict(queue.change(action, chosen, everything=everything, dry_run=dry_run)))


def _split(given: Mapping[str, str]) -> tuple[Selector, dict[str, str]]:
    rest = {name: given[name] for name in ("limit", "all", "dry_run") if name in given}
    return parse_selector({name: text for name, text in given.items() if name not in rest}), rest


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise InputError(f"{name} must be true or false (got {text[:64]!r})")
    return text == "true"


_ACTIONS = {f"{PREFIX}/{action.value}": action for action in Action}
_LISTS: Mapping[str, Callable[[Queue, Mapping[str, str]], Any]] = {PREFIX: _report, f"{PREFIX}/entries": _entries}

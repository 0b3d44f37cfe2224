"""An HTTP request and its caller, as the server passes them to a route, and the response that the route returns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING, Any

from eaves.errors import EavesError, UnsupportedContentError
from eaves.ingress.body import parse_length
from eaves.ingress.memory import MemoryBudget, MemoryReservation
from eaves.problem_document import CONTENT_TYPE, build_problem, error_type

if TYPE_CHECKING:
    from eaves.ingress.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The peer that sends a request.

    Attributes:
        address: Network address of the peer.
        names: Common name and DNS names of its certificate, when one of the server's authorities has signed it.
    """

    address: str
    names: frozenset[str] = frozenset()


class Request:
    """A request whose body isn't read yet.

    Raises:
        EventError: When the headers give the end of the body in no valid way.

    Attributes:
        method: HTTP method, such as `GET` or `POST`.
        path: Target without its query.
        query: Text after `?` in the target.
        headers: Headers by name, in any case.
        caller: Peer that sends the request.
        length: Size of the body in bytes, `eaves.ingress.body.CHUNKED`, or None when it isn't given.
        admitted: Whether a route has accepted the caller.
        is_read: Whether nothing of the body is left to read.
    """

    def __init__(
        self, connection: Connection, method: str, target: str, headers: Message, share: MemoryReservation
    ) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.caller = connection.caller
        self.length = parse_length(headers)
        self.admitted = False
        self.is_read = not self.length
        self._connection = connection
        self._share = share

    def admit(self, owner: str = "", budget: MemoryBudget | None = None) -> None:
        """Accept the caller, so that its connection is not the first to be closed in favour of others.

        Args:
            owner: Name of the caller, whose requests together get only a share of the memory; empty without a name.
            budget: Budget for the body; None for the server's.
        """
        self.admitted = True
        self._share.assign(owner, budget)
        self._connection.admit()

    def reserve_memory(self, size: int) -> None:
        """Reserve memory that the request needs in addition to its body; it is freed after the response.

        Raises:
            OverloadedError: When no memory is available now.
        """
        self._share(size)

    def header_fields(self) -> Mapping[str, str]:
        """Return the headers as plain values."""
        return dict(self.headers.items())

    def read_body(self, max_bytes: int) -> bytes:
        """Return the unpacked body.

        Args:
            max_bytes: Maximum size of the body, packed and unpacked, bytes.

        Raises:
            UnsupportedContentError: When the content coding isn't gzip.
            BrokenOffError: When the sender ends the connection within the body, or is too slow.
            EventError: When the body isn't well-formed, or its length isn't given.
            ImageTooLargeError: When the body is larger than allowed.
            OverloadedError: When no memory is available now.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "", "gzip", "x-gzip"):
            raise UnsupportedContentError(f"Content-Encoding must be gzip (got {coding[:40]!r})")
        is_packed = coding.endswith("gzip")
        body = self._connection.read(self.length, self._share, max_bytes=max_bytes, gzipped=is_packed)
        self.is_read = True
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response.

    Attributes:
        status: HTTP status.
        headers: Headers, without those that the server sets itself.
        repeated: Further headers in order, whose names may occur more than once, such as `Set-Cookie`.
        body: Bytes of the body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Serve = Callable[[Request], Response]
"""Function that answers a request. An EavesError becomes a response with its `http_status`."""


def answer_json(value: Any, status: int = 200) -> Response:
    """Build a JSON response from plain data."""
    return Response(status=status, headers={"Content-Type": "application/json"}, body=json.dumps(value).encode())


def answer_problem(status: int, detail: str, hint: str | None = None, *, kind: str = "", **headers: str) -> Response:
    """Build a response with a problem document.

    Args:
        status: HTTP status.
        detail: What is wrong.
        hint: Suggested fix.
        kind: Last part of the problem's type; empty for `http-STATUS`.
        headers: Further headers, with `_` in a name for `-`.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Content-Type"] = CONTENT_TYPE
    return Response(status=status, headers=named, body=build_problem(status, detail, hint, kind=kind))


def answer_error(error: EavesError, **headers: str) -> Response:
    """Build the response to a request that failed with an EavesError; `headers` as for `answer_problem`."""
    return answer_problem(error.http_status, error.message, error.hint, kind=error_type(type(error)), **headers)

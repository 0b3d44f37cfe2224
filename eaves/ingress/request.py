"""An HTTP request and its caller, as the server passes them to a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message

from eaves.errors import UnsupportedContentError
from eaves.ingress.framing import Framing
from eaves.ingress.memory import MemoryBudget, Take
from eaves.ingress.response import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The peer that sends a request: its address, and the names in its client certificate.

    Attributes:
        address: Network address of the peer.
        names: Common name and DNS names of its certificate, when one of the server's authorities has signed it.
    """

    address: str
    names: frozenset[str] = frozenset()


class Request:
    """A request whose body isn't read yet.

    Attributes:
        method: HTTP method, such as `GET` or `POST`.
        path: Target without its query.
        query: Text after `?` in the target.
        headers: Headers by name, in any case.
        caller: Peer that sends the request.
        admitted: Whether a route has accepted the caller.
    """

    def __init__(
        self,
        *,
        method: str,
        target: str,
        headers: Message,
        caller: Caller,
        framing: Framing,
        read: Callable[[int, bool], bytes],
        take: Take,
        on_admit: Callable[[str, MemoryBudget | None], None],
    ) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.caller = caller
        self.admitted = False
        self.is_read = not framing.has_body
        self._read = read
        self._take = take
        self._on_admit = on_admit

    def admit(self, owner: str = "", budget: MemoryBudget | None = None) -> None:
        """Accept the caller, so that its connection is not the first to be closed in favour of others.

        Args:
            owner: Name of the caller, whose requests together get only a share of the memory; empty without a name.
            budget: Budget for the body; None for the server's.
        """
        self.admitted = True
        self._on_admit(owner, budget)

    def reserve_memory(self, size: int) -> None:
        """Reserve memory that the request needs in addition to its body; it is freed after the response.

        Raises:
            OverloadedError: When no memory is available now.
        """
        self._take(size)

    def header_fields(self) -> Mapping[str, str]:
        """Return the headers as plain values."""
        return dict(self.headers.items())

    def read_body(self, max_bytes: int) -> bytes:
        """Return the unpacked body.

        Args:
            max_bytes: Maximum size of the body, packed and unpacked, bytes; the server's own limit applies as well.

        Raises:
            UnsupportedContentError: When the content coding isn't gzip.
            EventError: When the body is incomplete, or its length isn't given.
            ImageTooLargeError: When the body is larger than allowed.
            OverloadedError: When no memory is available now.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "", "gzip", "x-gzip"):
            raise UnsupportedContentError(f"Content-Encoding must be gzip (got {coding[:40]!r})")
        body = self._read(max_bytes, coding.endswith("gzip"))
        self.is_read = True
        return body


Serve = Callable[[Request], Response]
"""Function that answers a request. An EavesError becomes a response with its `http_status`."""

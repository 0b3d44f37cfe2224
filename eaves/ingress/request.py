"""What a route sees of a request."""

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
    """Who is at the other end of the connection.

    Attributes:
        address: Its network address.
        names: Common name and DNS names of its certificate, when an authority of the server's has signed one.
    """

    address: str
    names: frozenset[str] = frozenset()


class Request:
    """One request, whose body isn't read yet.

    Attributes:
        method: `GET`, `POST` and so on.
        path: The target without its query.
        query: What follows `?` in the target.
        headers: Name to value; names in any case.
        caller: Who sends it.
        admitted: Whether a route has let the caller in.
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
        """Say that the caller may be here: its connection is kept, and is not the first that makes room for others.

        Args:
            owner: Who it is; its requests together get a part of the memory only. Empty when it isn't told apart.
            budget: Memory for the body; None takes the server's.
        """
        self.admitted = True
        self._on_admit(owner, budget)

    def reserve_memory(self, size: int) -> None:
        """Take memory for something that the request needs beside its body; it is free again after the answer.

        Raises:
            OverloadedError: When there is none now.
        """
        self._take(size)

    def header_fields(self) -> Mapping[str, str]:
        """The headers as plain values."""
        return dict(self.headers.items())

    def read_body(self, max_bytes: int) -> bytes:
        """The body, unpacked.

        Args:
            max_bytes: Largest body, as it comes and unpacked; the server's own limit holds as well.

        Raises:
            UnsupportedContentError: When it is encoded in another way than gzip.
            EventError: When it breaks off, or its length isn't said.
            ImageTooLargeError: When it is larger than allowed.
            OverloadedError: When there is no memory for it now.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "", "gzip", "x-gzip"):
            raise UnsupportedContentError(f"Content-Encoding must be gzip (got {coding[:40]!r})")
        body = self._read(max_bytes, coding.endswith("gzip"))
        self.is_read = True
        return body


Serve = Callable[[Request], Response]
"""Answers a request. An EavesError becomes the answer that its `http_status` says."""

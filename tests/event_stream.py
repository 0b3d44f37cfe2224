"""A client of server-sent events over a plain socket, for tests and benchmarks."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One block of an event stream, such as an event."""

    data: str = ""
    event: str = ""
    id: str = ""
    retry: str = ""


class EventStream:
    """Reads an event stream block by block.

    Args:
        connection: Connected socket; it is closed at the end.
        path: Target of the request.
        headers: Further lines of the request's head.
    """

    def __init__(self, connection: socket.socket, path: str, *headers: str) -> None:
        self.connection = connection
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        self._left = b""
        self._head = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    @property
    def head(self) -> str:
        """Status line and headers of the response."""
        if not self._head:
            self._head = self._read_until(b"\r\n\r\n").decode()
        return self._head

    def next(self) -> Received | None:
        """Return the next block that isn't a mere comment; None at the end of the stream."""
        assert self.head
        while True:
            try:
                text = self._read_until(b"\n\n").decode()
            except EOFError:
                return None
            fields: dict[str, str] = {}
            for line in text.split("\n"):
                name, _, value = line.partition(": ")
                if name.startswith(":") or not name:
                    continue
                fields[name] = f"{fields[name]}\n{value}" if name in fields else value
            if fields:
                return Received(**fields)

    def rest(self) -> list[Received]:
        """Return all blocks up to the end of the stream."""
        found = []
        while (block := self.next()) is not None:
            found.append(block)
        return found

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._left:
            more = self.connection.recv(65_536)
            if not more:
                raise EOFError
            self._left += more
        found, _, self._left = self._left.partition(end)
        return found

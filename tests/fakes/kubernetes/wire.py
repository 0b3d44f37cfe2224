"""Requests and replies of the simulated API server."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kubernetes.objects import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One that came in; what goes through the proxy has a target, `pods/NAME:PORT`, and the backend's path."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    target: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered.

    Attributes:
        status: HTTP's; 0: the connection is dropped instead.
        headers: Beside Content-Length.
        body: Content.
        stream: Chunks instead of a body, as they come.
        delay_s: Before it.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Iterator[bytes] | None = None
    delay_s: float = 0.0


def reply_json(value: Any, status: int = 200, *, delay_s: float = 0.0, **headers: str) -> Reply:
    """JSON; a header's name has `_` for `-`."""
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status=status, headers=named, body=json.dumps(value).encode(), delay_s=delay_s)


def refusal(code: int, reason: str, message: str, *, delay_s: float = 0.0, **headers: str) -> Reply:
    """A Status, for `FakeCluster.fault` and `fail`: `refusal(429, "TooManyRequests", "slow down", Retry_After="1")`."""
    return reply_json(Refused(code, reason, message).status, code, delay_s=delay_s, **headers)

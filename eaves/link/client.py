"""HTTP client that sends requests to a receiver over the link, on connections that are kept open."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import HttpAnswer
from eaves.delivery.response_rules import describe_response, shorten
from eaves.errors import ConfigError, DeliveryError, Fault, StatusError, UnreachableError
from eaves.http_client.connection_errors import NOT_TRUSTED
from eaves.http_client.pools import build_socket_options
from eaves.http_client.proxies import DIRECT, Proxies, is_loopback
from eaves.http_client.retry_after import parse_retry_after
from eaves.link.batch import BatchAnswer, Packed, parse_batch_answer
from eaves.link.credentialed import CredentialedClient
from eaves.link.paths import EVENTS, LEDGER, PARTS, SITE, UPLOAD
from eaves.web.problem_document import parse_problem

PIECE_BYTES = 8_192
"""Number of bytes of a body that are handed to the socket at a time. Each piece has its own time limit, so a slow link
has enough time while a silent one ends the request."""
PIECE_S = 10.0
"""Maximum wait for a connection to be made, and for space for one piece of the body in the socket's buffer, seconds."""
PROBE_S = 5.0
"""Time limit of a probe, a small request that tests the link, seconds. DNS, TCP, TLS and the answer take four round
trips, 2.4 s over a geostationary satellite."""
GRACE_S = 0.5
"""Time after a request's limit at which another thread ends it, seconds. A socket's own limit applies to each wait, so
an answer that arrives byte by byte never exceeds it."""
SILENT_S = 12
"""Time without an acknowledgement of the peer after which the kernel ends the connection, seconds."""
SOCKET_OPTIONS = build_socket_options(idle_s=30, silent_s=SILENT_S)

UNAUTHORISED = 401
"""Status that says that the receiver doesn't know the caller. Source: RFC 9110, section 15.5.2."""
_NO_RECEIVER = "check that the address is the address of a receiver, and that no proxy or login page answers instead"


def check_receiver(address: str, *, with_path: bool = False) -> str:
    """Return why an address can't be a receiver's; empty when it can.

    Args:
        address: Address to check.
        with_path: Whether a path is allowed, as for a resource behind a receiver.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"must be an https:// address: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return f"must be an https:// address (got {address[:80]!r})"
    if parts.username is not None or parts.query or parts.fragment:
        return "must be an address without a user name; put the token into the file `token` of the credentials folder"
    if not with_path and parts.path not in ("", "/"):
        return f"must be an address without a path: https://HOST[:PORT] (got {address[:80]!r})"
    if parts.scheme == "http" and not is_loopback(host):
        return (
            "must begin with https://, unless the receiver is on this machine's loopback "
            f"address (got {address[:80]!r})"
        )
    return ""


class LinkClient:
    """Client of one receiver, with one connection. Safe to use from many threads.

    Args:
        to: Address of the receiver: https://, or http:// on loopback.
        credentials: Folder with `token`, `ca.crt`, and `tls.crt` with `tls.key`; read at each request.
        ca_certs_pem: Certificate authorities to trust in addition to the system's and `ca.crt`, as PEM.
        proxies: Proxies of the process.
        clock: Wall clock for dates in Retry-After. Time limits use real time, because sockets support nothing else.

    Raises:
        ConfigError: When the address can't be a receiver's.

    Attributes:
        to: Address of the receiver, without a trailing slash.
        bytes_sent: Size of the bodies that were handed to the socket since the start, bytes.
    """

    def __init__(
        self,
        to: str,
        credentials: Path | None = None,
        *,
        ca_certs_pem: str = "",
        proxies: Proxies = DIRECT,
        clock: Clock = SYSTEM,
    ) -> None:
        if fault := check_receiver(to):
            raise ConfigError([Fault(origin="link", path="to", message=fault)], hint="to: https://HOST:8443")
        self.to = to.rstrip("/")
        self.bytes_sent = 0
        self._clock = clock
        self._counting = threading.Lock()
        self._clients = CredentialedClient(
            credentials,
            connections=1,
            ca_certs_pem=ca_certs_pem,
            proxies=proxies,
            socket_options=SOCKET_OPTIONS,
            clock=clock,
        )

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    def abort(self) -> None:
        """End the current exchange; its caller gets a DeliveryError. May be called from any thread."""
        self._clients.abort()

    def has_new_credentials(self) -> bool:
        """Return whether a file in the credentials folder has changed since the last request."""
        return self._clients.is_changed()

    def send_packed(self, packed: Packed, *, timeout_s: float, uploaded: str = "") -> BatchAnswer:
        """Send one request of events. An event that the answer doesn't refuse is on the receiver's disk.

        Args:
            packed: Request to send.
            timeout_s: Time limit from connecting to the last byte of the answer, seconds.
            uploaded: Digest under which `send_part` has sent the body; empty to send the body now.

        Raises:
            ConfigError: When the credentials can't be read.
            StatusError: When the receiver refuses the request as a whole.
            DeliveryError: When there is no answer, or one that doesn't account for every event.
        """
        headers, body = packed.headers, packed.body
        if uploaded:
            headers, body = {**headers, UPLOAD: uploaded}, b""
        answer = self._exchange("POST", EVENTS, headers=headers, body=body, timeout_s=timeout_s)
        return parse_batch_answer(answer.body, packed.events)

    def send_part(self, digest: str, part: memoryview, *, offset: int, size: int, timeout_s: float) -> int:
        """Send a part of a body that takes longer than the link may be up; the receiver keeps it for days.

        Args:
            digest: SHA-256 of the whole body, in hexadecimal.
            part: Bytes of the part; an empty one asks how many bytes the receiver has.
            offset: Position of the part in the body, bytes.
            size: Size of the whole body, bytes.
            timeout_s: Time limit of the exchange, seconds.

        Returns:
            Number of bytes from the beginning that the receiver has.

        Raises:
            ConfigError: When the credentials can't be read.
            StatusError: When the receiver refuses the part; 404 when it doesn't support parts.
            DeliveryError: When there is no answer, or the answer is not a receiver's.
        """
        path = f"{PARTS}{digest}?{urlencode({'offset': offset, 'size': size})}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._exchange("POST", path, headers=headers, body=part, timeout_s=timeout_s)
        received = _find_member(answer, "received")
        if isinstance(received, bool) or not isinstance(received, int) or not 0 <= received <= size:
            raise DeliveryError(f"no receiver answers at {self.to}{PARTS}", hint=_NO_RECEIVER)
        return received

    def probe(self) -> str:
        """Ask the receiver which site it identifies the caller as, and return the site's name.

        On an open connection this costs a few hundred bytes.

        Raises:
            ConfigError: When the credentials can't be read.
            StatusError: When the receiver rejects the caller.
            DeliveryError: When there is no answer, or the answer is not a receiver's.
        """
        answer = self._exchange("GET", SITE, timeout_s=PROBE_S, connect_s=PROBE_S)
        site = _find_member(answer, "site")
        if not isinstance(site, str) or not site:
            raise DeliveryError(f"no receiver answers at {self.to}{SITE}", hint=_NO_RECEIVER)
        return site

    def read_ledger(self, after: int = 0, limit: int = 10_000, *, timeout_s: float = 120.0) -> list[dict[str, Any]]:
        """Return the lines of the receiver's ledger about the caller's site, in order.

        Args:
            after: Number of a line; only lines with a higher number are returned.
            limit: Maximum number of lines.
            timeout_s: Time limit of the exchange, seconds.

        Raises:
            ConfigError: When the credentials can't be read.
            DeliveryError: When there is no answer, or the answer is not a ledger.
        """
        query = urlencode({"after": after, "limit": limit})
        answer = self._exchange("GET", f"{LEDGER}?{query}", timeout_s=timeout_s)
        try:
            lines = [json.loads(line) for line in answer.body.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise DeliveryError(f"the answer of {self.to}{LEDGER} is not a ledger: {shorten(str(error))}") from error
        if not all(isinstance(line, dict) for line in lines):
            raise DeliveryError(f"the answer of {self.to}{LEDGER} is not a ledger: a line is not a JSON object")
        return lines

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
        timeout_s: float,
        connect_s: float = PIECE_S,
    ) -> HttpAnswer:
        """Make one request and require status 200; another thread ends the request when its time limit is exceeded."""
        client, own = self._clients.current()
        headers = {**(headers or {}), **own, "Content-Length": str(len(body))} if body else {**(headers or {}), **own}
        ends_at = time.monotonic() + timeout_s
        limit = threading.Timer(timeout_s + GRACE_S, client.abort)
        limit.daemon = True
        limit.start()
        try:
            answer = client.exchange(
                method,
                f"{self.to}{path}",
                headers=headers,
                body=self._count(body) if body else b"",
                timeout_s=timeout_s,
                connect_s=connect_s,
            )
        except DeliveryError as error:
            if NOT_TRUSTED in error.message:
                message = f"{error.message}; {self._clients.explain_trust()}"
                raise UnreachableError(message, hint="docs/15-receiver.md#a-certificate-of-your-own") from error
            if time.monotonic() >= ends_at:
                raise DeliveryError(f"no answer from {self.to} within {timeout_s:.3g} s", hint=error.hint) from error
            raise
        finally:
            limit.cancel()
        if answer.status != 200:
            raise self._refused(method, path, answer)
        return answer

    def _count(self, body: bytes | memoryview) -> Iterator[memoryview]:
        """Yield the body in pieces and add their sizes to `bytes_sent`."""
        view = memoryview(body)
        for start in range(0, len(body), PIECE_BYTES):
            piece = view[start : start + PIECE_BYTES]
            yield piece
            with self._counting:
                self.bytes_sent += len(piece)

    def _refused(self, method: str, path: str, answer: HttpAnswer) -> StatusError:
        problem = parse_problem(answer.body)
        detail, hint = (shorten(str(problem.get(name) or "")) for name in ("detail", "hint"))
        reason = f"answered {answer.status}: {detail}" if detail else describe_response(answer.status, answer.body)
        if answer.status == UNAUTHORISED:
            reason = f"{reason}; {self._clients.explain_refusal()}"
        elif hint:
            reason = f"{reason} ({hint})"
        return StatusError(
            f"{method} {self.to}{path.partition('?')[0]} {reason}",
            status=answer.status,
            detail=reason,
            retry_after_s=parse_retry_after(
                answer.headers.get("retry-after"), self._clock.now(), answer.headers.get("date")
            ),
        )


def _find_member(answer: HttpAnswer, name: str) -> Any:
    """Return a member of the JSON object in an answer; None when there is none."""
    try:
        return json.loads(answer.body)[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None

"""HTTP clients of a receiver, with a token or a certificate from a folder that is read again at each use."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from eaves.base.backoff import Backoff
from eaves.base.files import Stamp, find_stamp
from eaves.credentials import (
    AUTHORITIES,
    CERTIFICATE,
    KEY,
    PASSWORD,
    TOKEN,
    USERNAME,
    Credentials,
    build_fault,
    read_credentials,
)
from eaves.delivery import SinkClient
from eaves.delivery.response_rules import describe_response, shorten
from eaves.errors import ConfigError, DeliveryError, StatusError, UnreachableError
from eaves.http_client.client import HttpAnswer, build_socket_options
from eaves.http_client.explain import CERTIFICATE as NOT_TRUSTED
from eaves.http_client.explain import explain
from eaves.http_client.headers import parse_retry_after
from eaves.http_client.proxies import DIRECT, Proxies, is_loopback
from eaves.link.protocol import EVENTS, HEADS, LEDGER, PARTS, SITE, UPLOAD, BatchAnswer, Packed, parse_batch_answer
from eaves.problem_document import parse_problem

LINK_PAUSES = Backoff(retry=None, first_s=0.5, cap_s=4.0)
"""Pauses between attempts while the link is down. A link that is up for 10 s of every 30 must be found soon, and an
attempt costs some hundred bytes."""

PIECE_BYTES = 8_192
"""Number of bytes of a body that are handed to the socket at a time. Each piece has its own time limit, so a slow link
has enough time while a silent one ends the request."""
PIECE_S = 10.0
"""Maximum wait for a connection to be made, and for space for one piece of the body in the socket's buffer, seconds."""
PROBE_S = 5.0
"""Time limit of a probe, a small request that tests the link, seconds. DNS, TCP, TLS and the answer take four round
trips, 2.4 s over a geostationary satellite."""
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


class CredentialedClient:
    """Provides a `SinkClient` and headers for the folder's current content.

    A renewed token or certificate needs no restart. Connections are kept until a certificate or an authority changes.
    Safe to use from many threads.

    Args:
        folder: Folder with those of `token`, `username`, `password`, `ca.crt`, and `tls.crt` with `tls.key` that are
            needed; None for no credentials.
        connections: Number of connections that are kept.
        ca_certs_pem: Certificate authorities to trust in addition to the system's and `ca.crt`, as PEM.
        proxies: Proxies of the process.

    Attributes:
        credentials: Credentials with which the client was built.
    """

    def __init__(
        self, folder: Path | None, *, connections: int = 1, ca_certs_pem: str = "", proxies: Proxies = DIRECT
    ) -> None:
        self._folder = folder
        self._connections, self._ca_certs_pem, self._proxies = connections, ca_certs_pem, proxies
        self._lock = threading.Lock()
        self.credentials = Credentials()
        self._client: SinkClient | None = None
        self._headers: Mapping[str, str] = {}
        self._seen: list[Stamp | None] = []
        self._used: list[Stamp | None] = []

    def current(self) -> tuple[SinkClient, Mapping[str, str]]:
        """Return the client, and the headers that authenticate the caller.

        Raises:
            ConfigError: When the folder or a file in it can't be read or used.
        """
        with self._lock:
            self._seen = stamps = self._find_stamps()  # first, so that a change during the read is noticed later
            if self._client is None or stamps != self._used:
                found = read_credentials(self._folder)
                token = found.token
                if not token.isascii() or not token.isprintable():
                    message = "the token contains characters that are not allowed in an HTTP header"
                    raise build_fault(self._folder, message, "write the token into this file again")
                if self._client is None or stamps[1:] != self._used[1:]:  # a token needs no new connections
                    made = self._build(found)
                    self.close()
                    self._client, self.credentials = made, found
                self._headers = {"Authorization": f"Bearer {token}"} if token else {}
                self._used = stamps
            return self._client, self._headers

    def is_changed(self) -> bool:
        """Return whether a file of the folder has changed since `current` read it."""
        return self._find_stamps() != self._seen

    def explain_refusal(self) -> str:
        """Return a text that explains what may be wrong with the client's credentials when the server rejects them."""
        if self._folder is None:
            return "no credentials folder is set on this side, so no token was sent"
        try:
            found = read_credentials(self._folder)
        except ConfigError as error:
            return error.message
        token = self._folder / TOKEN
        if found.token:
            return f"the token in {token} was sent; compare it with the file of this site at the receiver"
        if found.certificate is None:
            return f"{token} is missing or empty, and there is no tls.crt, so the request doesn't identify this site"
        return (
            f"only the certificate {found.certificate} was sent, because {token} is missing; "
            "the certificate's name must be the name of a site"
        )

    def explain_trust(self) -> str:
        """Return a text that explains what may be wrong with `ca.crt` when the server's certificate is not trusted."""
        if self._folder is None:
            return "put the certificate of its authority into the file ca.crt of the credentials folder"
        authorities = self._folder / AUTHORITIES
        if authorities.exists():
            return (
                f"{authorities} must contain the certificate of its authority, and the "
                "server's certificate must be valid now, and for the host in the address"
            )
        return f"put the certificate of its authority into {authorities}"

    def abort(self) -> None:
        """End every current exchange. May be called from any thread."""
        if (client := self._client) is not None:
            client.abort()

    def close(self) -> None:
        """Close every connection."""
        if (client := self._client) is not None:
            client.close()

    def _build(self, found: Credentials) -> SinkClient:
        try:
            return SinkClient(
                connections=self._connections,
                ca_certs_pem="\n".join(filter(None, (found.authorities_pem, self._ca_certs_pem))),
                proxies=self._proxies,
                certificate=(found.certificate, found.key) if found.certificate and found.key else None,
                socket_options=SOCKET_OPTIONS,
            )
        except ValueError as error:
            raise build_fault(self._folder, str(error), f"ls -l {self._folder}") from error

    def _find_stamps(self) -> list[Stamp | None]:
        names = (TOKEN, AUTHORITIES, CERTIFICATE, KEY, USERNAME, PASSWORD)
        return [] if self._folder is None else [find_stamp(self._folder / name) for name in names]


class LinkClient:
    """Client of one receiver, with one connection. Safe to use from many threads.

    Args:
        to: Address of the receiver: https://, or http:// on loopback.
        credentials: Folder with `token`, `ca.crt`, and `tls.crt` with `tls.key`; read at each request.
        ca_certs_pem: Certificate authorities to trust in addition to the system's and `ca.crt`, as PEM.
        proxies: Proxies of the process.

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
    ) -> None:
        if fault := check_receiver(to):
            raise ConfigError.single("link", "to", fault, hint="to: https://HOST:8443")
        self.to = to.rstrip("/")
        self.bytes_sent = 0
        self._counting = threading.Lock()
        self._clients = CredentialedClient(credentials, ca_certs_pem=ca_certs_pem, proxies=proxies)

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

    def fetch_head(self, name: str, known: str = "", *, timeout_s: float = 120.0) -> bytes | None:
        """Return the head that the receiver has merged for a model; None when there is none, or no other one.

        Args:
            name: Name of the model.
            known: SHA-256 of the head that the caller has, in hexadecimal; empty for none.
            timeout_s: Time limit of the exchange, seconds.

        Raises:
            ConfigError: When the credentials can't be read.
            StatusError: When the receiver rejects the caller.
            DeliveryError: When there is no answer, or the answer is not a receiver's.
        """
        headers = {"If-None-Match": f'"{known}"'} if known else None
        answer = self._exchange("GET", f"{HEADS}{name}", headers=headers, timeout_s=timeout_s, allowed=(200, 304, 404))
        if answer.status != 200:
            return None
        if answer.headers.get("etag") != f'"{hashlib.sha256(answer.body).hexdigest()}"':
            raise DeliveryError(f"no receiver answers at {self.to}{HEADS}", hint=_NO_RECEIVER)
        return answer.body

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
        timeout_s: float,
        connect_s: float = PIECE_S,
        allowed: Collection[int] = (200,),
    ) -> HttpAnswer:
        """Make one request and require one of the allowed statuses."""
        client, own = self._clients.current()
        headers = {**(headers or {}), **own} | ({"Content-Length": str(len(body))} if body else {})
        ends_at = time.monotonic() + timeout_s
        try:
            answer = client.request(
                method,
                f"{self.to}{path}",
                headers=headers,
                body=self._count(body) if body else b"",
                timeout_s=timeout_s,
                connect_s=connect_s,
            )
        except DeliveryError as error:
            if explain(error).kind == NOT_TRUSTED:
                message = f"{error.message}; {self._clients.explain_trust()}"
                raise UnreachableError(message, hint="docs/link.md#a-certificate-of-your-own") from error
            if time.monotonic() >= ends_at:
                raise DeliveryError(f"no answer from {self.to} within {timeout_s:.3g} s", hint=error.hint) from error
            raise
        if answer.status not in allowed:
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
            retry_after_s=parse_retry_after(answer.headers),
        )


def _find_member(answer: HttpAnswer, name: str) -> Any:
    """Return a member of the JSON object in an answer; None when there is none."""
    try:
        return json.loads(answer.body)[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None

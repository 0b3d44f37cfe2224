"""Requests to one registry: logins, redirects, time limits, attempts. Knows nothing of container images.

A secret goes to the registry that it is for and to nowhere else: not to where a redirect or an upload's Location
leads, and not over plain HTTP unless that was allowed.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection

import eaves
from eaves.base.backoff import Backoff
from eaves.errors import AccessError, OciError, RegistryError
from eaves.http_client.connection_errors import find_connection_fault
from eaves.http_client.pools import HttpClient
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.http_client.socket_options import build_socket_options
from eaves.http_client.trust import build_tls_context
from eaves.oci.outage import Outage
from eaves.oci.reference import DEFAULT_HOST, Reference
from eaves.oci.registry.authentication import RegistryLogin
from eaves.oci.registry.credentials import load_credentials
from eaves.oci.registry.response import RegistryResponse, read_response, require_status
from eaves.oci.store.content_store import Progress

ATTEMPTS = 5
"""Of one chunk or small request; pauses double from `PAUSE_S`, unless the registry says how long."""
PAUSE_S = 0.5
MAX_PAUSE_S = 60.0
MAX_REDIRECTS = 5
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED_BY_PROXY = "Tunnel connection failed: 4"
"""A proxy that doesn't let through, in urllib3's words; 5xx is one that doesn't get through itself."""
_PORTS = {"http": 80, "https": 443}
SILENT_S = 20
"""After so many seconds without a sign of the other side's system the kernel ends a connection: what was sent is not
acknowledged, or keepalives are not answered."""
SOCKET_OPTIONS = build_socket_options(idle_s=10, silent_s=SILENT_S)


def _say_nothing(text: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How registries are reached.

    Attributes:
        plain_http: Whether without TLS, and secrets too; Docker's own registry is reached by TLS all the same.
        authorities: PEM file of certificate authorities to trust, beside the system's.
        proxies: Proxies of the process.
        config: Docker's config, with logins.
        attempts: Of each request.
        pause_s: Before the second; it doubles.
        connect_s: Seconds to connect in, and for each small piece that is sent.
        read_s: Seconds without a byte after which an answer counts as broken off.
        stall_s: The same within a blob that is downloaded: to ask again for what is missing costs little.
        outage_s: Seconds without a byte more after which a blob's download is given up, while the registry is out of
            reach. A registry that answers, and sends no byte more, has `attempts`.
        say: Told while a download waits for the registry.
    """

    plain_http: bool = False
    authorities: Path | None = None
    proxies: Proxies = DIRECT
    config: Path = Path("~/.docker/config.json")
    attempts: int = ATTEMPTS
    pause_s: float = PAUSE_S
    connect_s: float = 15.0
    read_s: float = 120.0
    stall_s: float = 30.0
    outage_s: float = 600.0
    say: Callable[[str], object] = _say_nothing


class RegistryTransport:
    """The way to one registry; safe to use from many threads.

    Args:
        reference: Names its host.
        access: How registries are reached.

    Raises:
        OciError: When the certificate authorities can't be read.
    """

    def __init__(self, reference: Reference, access: Access) -> None:
        self.attempts, self.pause_s, self.outage_s = access.attempts, access.pause_s, access.outage_s
        self.outage = Outage(access.say)
        self._stall_s = access.stall_s
        self._backoff = Backoff(retry=access.attempts - 1, first_s=access.pause_s, cap_s=MAX_PAUSE_S)
        self._host = reference.host
        self._plain = access.plain_http and reference.host != DEFAULT_HOST
        self.root = f"{'http' if self._plain else 'https'}://{reference.api_host}/v2/"
        self._http = HttpClient(
            proxies=access.proxies,
            ca_certs_pem="" if self._plain else _read_authorities(access.authorities),
            timeout=urllib3.Timeout(connect=access.connect_s, read=access.read_s),
            headers={"User-Agent": f"eaves/{eaves.__version__}"},
            socket_options=SOCKET_OPTIONS,
        )
        self._login = RegistryLogin(
            self._http, lambda: load_credentials(reference.host, access.config.expanduser()), plain=self._plain
        )

    def send(self, method: str, url: str, scope: str, **options: Any) -> RegistryResponse:
        """A request, tried again when that may help; the answer may have any status that isn't worth another attempt.

        Args:
            method: HTTP's.
            url: Where to.
            scope: What a token must allow.
            options: As `once`.

        Raises:
            AccessError: When the registry doesn't let in.
            RegistryError: When it can't be reached.
        """
        for last, pause_s in self.pauses():
            try:
                answer = self.once(method, url, scope, **options)
            except RegistryError as error:
                if last or not is_passing(error):
                    raise
                time.sleep(pause_s)
            else:
                wait_s = answer.wait_s(pause_s)
                if answer.status not in AGAIN or last or wait_s > MAX_PAUSE_S:
                    return answer
                time.sleep(wait_s)
        raise AssertionError  # the last attempt returns or raises

    def once(
        self,
        method: str,
        url: str,
        scope: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> RegistryResponse:
        """A request, once.

        Args:
            method: HTTP's.
            url: Where to.
            scope: What a token must allow.
            body: To send.
            headers: To send.
            progress: Told of each piece of the body that was sent; what it raises ends the request.

        Raises:
            AccessError: When the registry doesn't let in.
            RegistryError: When it can't be reached, or breaks off.
        """
        return self._read(self._open(method, url, scope, body=body, headers=headers or {}, progress=progress))

    def stream(self, url: str, scope: str, headers: Mapping[str, str], what: str) -> urllib3.BaseHTTPResponse:
        """An answer of 200, 206 or 416 whose content is still to be read; whoever reads it closes it. One attempt.

        Args:
            url: Where to.
            scope: What a token must allow.
            headers: To send.
            what: It is, for errors.

        Raises:
            OutOfReachError: When the registry is out of reach.
            BusyError: When it asks to come again.
            RegistryError: When it doesn't answer so.
        """
        response = self._open("GET", url, scope, headers=headers)
        if response.status in (200, 206, 416):
            connection = response.connection
            if isinstance(connection, HTTPConnection) and connection.sock is not None:
                connection.sock.settimeout(self._stall_s)  # until the connection's next request
            return response
        answer = self._read(response)
        wait_s = answer.wait_s(0.0)
        try:
            require_status(answer, (200, 206), what)
        except AccessError:
            raise
        except RegistryError as error:
            if answer.status in AGAIN and wait_s <= MAX_PAUSE_S:
                raise BusyError(error.message, hint=error.hint, status=answer.status, wait_s=wait_s) from error
            raise _LastingError(error.message, hint=error.hint) from error
        raise AssertionError  # 200 and 206 are returned above

    def pauses(self) -> Iterator[tuple[bool, float]]:
        """For each attempt whether it is the last, and the pause after it in seconds."""
        for attempt in range(self.attempts):
            yield attempt + 1 == self.attempts, self._backoff.pause_s(attempt + 1)

    def _open(self, method: str, url: str, scope: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """A request that follows redirects where that is safe to repeat; its answer isn't read yet."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send_authenticated(method, url, scope, **options)
            place = response.headers.get("Location")
            if response.status not in _REDIRECTS or not place or method not in ("GET", "HEAD"):
                return response
            self._read(response)
            url = follow(url, place)
        raise _LastingError(f"{self._host} redirects more than {MAX_REDIRECTS} times")

    def _send_authenticated(self, method: str, url: str, scope: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """A request, and once more when the registry asks who we are."""
        origin = _origin(url)
        if origin[0] != "https" and not self._plain:
            raise _LastingError(
                f"{self._host} sends on to {url[:120]!r}, which is not https",
                hint="its proxy must tell it that it is reached by https (X-Forwarded-Proto)",
            )
        ours = origin == _origin(self.root)
        response = self._send(method, url, self._login.header(scope) if ours else {}, **options)
        challenge = response.headers.get("WWW-Authenticate")
        if response.status != 401 or not challenge or not ours:
            return response
        self._read(response)
        try:
            self._login.authenticate(challenge, scope)
        except urllib3.exceptions.HTTPError as error:
            raise self._translated(error) from error
        return self._send(method, url, self._login.header(scope), **options)

    def _send(
        self,
        method: str,
        url: str,
        login: Mapping[str, str],
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        progress: Progress | None = None,
    ) -> urllib3.BaseHTTPResponse:
        length = {} if body is None else {"Content-Length": str(len(body))}
        try:
            return self._http.request(
                method,
                url,
                body=None if body is None else _Body(body, progress),
                headers={**headers, **length, **login},
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._translated(error) from error

    def _read(self, response: urllib3.BaseHTTPResponse) -> RegistryResponse:
        try:
            return read_response(response)
        except urllib3.exceptions.HTTPError as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> RegistryError:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return _LastingError(
                f"{self._host} can't be trusted: {text}"[:300], hint="name its certificate authority with --registry-ca"
            )
        if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
            return _LastingError(f"{self._host} doesn't speak TLS", hint="allow plain HTTP with --plain-http")
        if isinstance(error, urllib3.exceptions.LocationValueError):
            return _LastingError(f"{self._host} can't be reached: {text}"[:300], hint="check its name")
        fault, hint = find_connection_fault(error), "check the name and the network, then try again"
        if fault is not None and isinstance(error, urllib3.exceptions.ProxyError):
            text, hint = fault.reason, fault.hint
        kind = RegistryError if _REFUSED_BY_PROXY in text else OutOfReachError
        return kind(f"{self._host} can't be reached: {text}"[:300], hint=hint)


class OutOfReachError(RegistryError):
    """One of the connection: the registry is out of reach, or the link to it."""


class BusyError(RegistryError):
    """An answer that asks to come again.

    Args:
        message: As of every error.
        hint: As of every error.
        status: HTTP's.
        wait_s: Seconds that the registry asks to wait; 0 when it doesn't say.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int = 503, wait_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.status, self.wait_s = status, wait_s


class _LastingError(RegistryError):
    """One that no other attempt mends."""


class _Body(io.BytesIO):
    """Content to send, which goes out in small pieces: a time limit is for each of them and not for all together."""

    def __init__(self, content: bytes, progress: Progress | None) -> None:
        super().__init__(content)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        if self._progress is not None and piece:
            self._progress(len(piece))
        return piece


def follow(url: str, place: str) -> str:
    """Where a Location leads from a URL.

    Raises:
        RegistryError: When it is none.
    """
    try:
        return urljoin(url, place)
    except ValueError as error:
        raise _LastingError(f"{place[:120]!r} is no address: {error}", hint="try another registry") from error


def is_passing(error: RegistryError) -> bool:
    """Whether another attempt may mend it."""
    return not isinstance(error, (AccessError, _LastingError))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise _LastingError(f"{url[:120]!r} is no address: {error}", hint="check the registry's name") from error


def _read_authorities(path: Path | None) -> str:
    """The certificate authorities in a PEM file.

    Raises:
        OciError: When the file can't be read, or holds none.
    """
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        build_tls_context(text)
    except (OSError, ValueError) as error:
        raise OciError(f"{path} has no certificates that can be read: {error}"[:300], hint="give a PEM file") from error
    return text

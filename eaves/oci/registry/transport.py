"""HTTP requests to one registry, with logins, redirects, time limits and retries.

A secret is sent only to the registry that it is for. It isn't sent to the target of a redirect or of an upload's
Location, and it is sent over plain HTTP only when the user has allowed that.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection

import eaves
from eaves.base.backoff import Backoff
from eaves.errors import OciError, RegistryError
from eaves.http_client.connection_errors import find_connection_fault
from eaves.http_client.pools import HttpClient, build_socket_options
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.http_client.trust import build_tls_context
from eaves.oci.descriptor import DEFAULT_HOST, Reference
from eaves.oci.registry.authentication import RegistryLogin, load_credentials
from eaves.oci.registry.response import (
    MAX_PAUSE_S,
    PassingError,
    RegistryResponse,
    build_error,
    read_response,
)

T = TypeVar("T")
Body = bytes | Callable[[], Generator[bytes]]
ATTEMPTS = 5
"""Maximum number of attempts for one request, and for one upload. The pause after an attempt is twice the previous one,
from `PAUSE_S` on, unless the registry asks for another time."""
PAUSE_S = 0.5
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED_BY_PROXY = "Tunnel connection failed: 4"
"""Beginning of urllib3's error when a proxy refuses to connect (a 4xx status). A 5xx status means that the proxy itself
can't reach the registry."""
_PORTS = {"http": 80, "https": 443}
SILENT_S = 20
"""Time after which the kernel ends a connection whose other end doesn't react, seconds: sent bytes are not
acknowledged, or keepalive packets are not answered."""
SOCKET_OPTIONS = build_socket_options(idle_s=10, silent_s=SILENT_S)


def _ignore_message(text: str) -> None:
    """Do nothing with a message: the default of `Access.say`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Settings for connections to registries.

    Attributes:
        plain_http: Whether to use HTTP without TLS, also when secrets are sent. Connections to Docker's own registry
            always use TLS.
        authorities: Path of a PEM file with certificate authorities to trust in addition to the system's.
        proxies: HTTP proxies of the process.
        config: Path of Docker's configuration, with logins.
        attempts: Maximum number of attempts per request.
        pause_s: Pause before the second attempt in seconds; it doubles for each further attempt.
        connect_s: Time limit for connecting, and for each small part that is sent, in seconds.
        read_s: Time without a byte after which a response counts as broken off, in seconds.
        stall_s: Time without a byte after which the download of a blob counts as broken off, in seconds. It is shorter
            than `read_s`, because requesting the missing rest costs little.
        outage_s: Time without a byte after which the download of a blob is given up when the registry can't be reached,
            in seconds. When the registry responds without sending more bytes, `attempts` is the limit.
        say: Function that is called with a line of text while a download waits for the registry.
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
    say: Callable[[str], object] = _ignore_message


class RegistryTransport:
    """Sends HTTP requests to one registry.

    Args:
        reference: Reference whose host is the registry.
        access: Settings for reaching registries.

    Raises:
        OciError: When the file with certificate authorities can't be read.
    """

    def __init__(self, reference: Reference, access: Access) -> None:
        self.attempts, self.pause_s, self.outage_s = access.attempts, access.pause_s, access.outage_s
        self.say = access.say
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

    def send(
        self, method: str, url: str, scope: str, what: str, wanted: Collection[int], **options: Any
    ) -> RegistryResponse:
        """Send a request and return the response, as `once`; retry after failures that may pass."""
        return self.retry(lambda: self.once(method, url, scope, what, wanted, **options))

    def retry(self, act: Callable[[], T]) -> T:
        """Return the result of a function, which is called again after a PassingError, at most `attempts` times.

        Raises:
            PassingError: When the last call raises it.
        """
        for attempt in range(1, self.attempts):
            try:
                return act()
            except PassingError as error:
                wait_s = error.wait_s or self._backoff.pause_s(attempt)
            time.sleep(wait_s)
        return act()

    def once(
        self,
        method: str,
        url: str,
        scope: str,
        what: str,
        wanted: Collection[int],
        *,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RegistryResponse:
        """Send a request once and return the response.

        Args:
            method: HTTP method.
            url: URL of the request.
            scope: Scope that a token must allow.
            what: Name of the content, for errors.
            wanted: HTTP statuses of a response that is returned.
            body: Body of the request. A function is called for each sending, and yields it in small parts, to which
                the time limit applies separately; an exception from it ends the request.
            headers: Headers of the request; Content-Length too when the body is a function.

        Raises:
            AccessError: When the registry refuses access.
            PassingError: When the registry can't be reached, the response breaks off, or its status may pass.
            OciError: When the registry responds with another status.
        """
        answer = self._read(self._open(method, url, scope, body=body, headers=headers or {}))
        if answer.status not in wanted:
            raise build_error(answer, what)
        return answer

    def stream(self, url: str, scope: str, headers: Mapping[str, str], what: str) -> urllib3.BaseHTTPResponse:
        """Send a GET request once and return a response of 200 or 206 with its body unread.

        The caller closes the response.

        Args:
            url: URL of the request.
            scope: Scope that a token must allow.
            headers: Headers of the request.
            what: Name of the content, for errors.

        Raises:
            PassingError: When the registry can't be reached, or fails in a way that may pass.
            OciError: When the registry responds with another status.
        """
        response = self._open("GET", url, scope, headers=headers)
        if response.status in (200, 206):
            connection = response.connection
            if isinstance(connection, HTTPConnection) and connection.sock is not None:
                connection.sock.settimeout(self._stall_s)  # applies until the connection's next request
            return response
        raise build_error(self._read(response), what)

    def _open(self, method: str, url: str, scope: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Send a request, following redirects where repeating it is safe; return the response with its body unread."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send_authenticated(method, url, scope, **options)
            place = response.headers.get("Location")
            if response.status not in _REDIRECTS or not place or method not in ("GET", "HEAD"):
                return response
            self._read(response)
            url = follow(url, place)
        raise RegistryError(f"{self._host} redirects more than {MAX_REDIRECTS} times")

    def _send_authenticated(self, method: str, url: str, scope: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Send a request, and send it again with a login when the registry asks for one."""
        origin = _origin(url)
        if origin[0] != "https" and not self._plain:
            raise RegistryError(
                f"{self._host} redirects to {url[:120]!r}, which is not https",
                hint="have the registry's proxy set X-Forwarded-Proto: https",
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
        body: Body | None = None,
    ) -> urllib3.BaseHTTPResponse:
        length = {"Content-Length": str(len(body))} if isinstance(body, bytes) else {}
        content = body() if callable(body) else io.BytesIO(body or b"")
        try:
            with closing(content):
                return self._http.request(
                    method, url, body=None if body is None else content, headers={**headers, **length, **login}
                )
        except urllib3.exceptions.HTTPError as error:
            raise self._translated(error) from error

    def _read(self, response: urllib3.BaseHTTPResponse) -> RegistryResponse:
        try:
            return read_response(response)
        except urllib3.exceptions.HTTPError as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> RegistryError:
        """Return the error for an exception of urllib3."""
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return RegistryError(
                f"the certificate of {self._host} is not trusted: {text}"[:300],
                hint="name its certificate authority with --registry-ca",
            )
        if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
            return RegistryError(f"{self._host} doesn't support TLS", hint="allow plain HTTP with --plain-http")
        if isinstance(error, urllib3.exceptions.LocationValueError):
            return RegistryError(f"{self._host} can't be reached: {text}"[:300], hint="check the registry's name")
        fault, hint = (
            find_connection_fault(error),
            "check the registry's name and the network, then run the command again",
        )
        is_reset = isinstance(error.__cause__ or error.__context__, ConnectionResetError)
        reason = describe_interruption(error) if fault is None or is_reset else fault.reason
        if fault is not None and isinstance(error, urllib3.exceptions.ProxyError):
            text, hint = fault.reason, fault.hint
        message = f"{self._host} can't be reached: {text}"[:300]
        return PassingError(message, hint=hint, reason=reason, is_away=_REFUSED_BY_PROXY not in text)


def describe_interruption(error: Exception) -> str:
    """Return in a few words why a response broke off."""
    return "no answer" if isinstance(error, urllib3.exceptions.TimeoutError) else "the connection was interrupted"


def follow(url: str, place: str) -> str:
    """Return the absolute URL of a Location header, which may be relative to the URL of the request.

    Raises:
        RegistryError: When the header holds no URL.
    """
    try:
        return urljoin(url, place)
    except ValueError as error:
        raise RegistryError(f"{place[:120]!r} is not a valid address: {error}", hint="use another registry") from error


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise RegistryError(
            f"{url[:120]!r} is not a valid address: {error}", hint="check the registry's name"
        ) from error


def _read_authorities(path: Path | None) -> str:
    """Return the certificate authorities in a PEM file.

    Raises:
        OciError: When the file can't be read, or has no certificate.
    """
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        build_tls_context(text)
    except (OSError, ValueError) as error:
        raise OciError(
            f"{path} contains no readable certificates: {error}"[:300],
            hint=("give a file with certificates in PEM form"),
        ) from error
    return text

"""HTTP requests to one registry, with logins, redirects, time limits, retries, and the errors for its statuses.

A secret is sent only to the registry that it is for. It isn't sent to the target of a redirect or of an upload's
Location, and it is sent over plain HTTP only when the user has allowed that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urljoin

import eaves
from eaves.base.backoff import Backoff
from eaves.errors import AccessError, DeliveryError, OciError, OciNotFoundError, RegistryError
from eaves.http_client.client import (
    BROKEN,
    HttpAnswer,
    HttpClient,
    HttpResponse,
    LargeAnswerError,
    build_socket_options,
    read_answer,
)
from eaves.http_client.explain import CERTIFICATE, PROXY, TLS, explain
from eaves.http_client.headers import REDIRECTS, parse_retry_after, split_url
from eaves.http_client.proxies import DIRECT, Proxies
from eaves.http_client.trust import build_tls_context
from eaves.oci.descriptor import DEFAULT_HOST, MAX_DOCUMENT_BYTES, Reference
from eaves.oci.registry.authentication import PassingError, RegistryLogin, load_credentials

T = TypeVar("T")
Body = bytes | Callable[[], Generator[bytes]]
ATTEMPTS = 5
"""Maximum number of attempts for one request, and for one upload. The pause after an attempt is twice the previous one,
from `PAUSE_S` on, unless the registry asks for another time."""
PAUSE_S = 0.5
MAX_PAUSE_S = 60.0
MAX_REDIRECTS = 5
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
GATEWAY = frozenset({502, 503, 504})
"""Statuses that a gateway returns when the registry behind it is out of reach. Source: RFC 9110, sections 15.6.3 to
15.6.5.
"""
_WRONG_PROTOCOL = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")
"""Texts with which servers (Go's and nginx) respond to plain HTTP on a port that expects TLS."""
SILENT_S = 20
"""Time after which the kernel ends a connection whose other end doesn't react, seconds: sent bytes are not
acknowledged, or keepalive packets are not answered."""
SOCKET_OPTIONS = build_socket_options(idle_s=10, silent_s=SILENT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Settings for connections to registries.

    Attributes:
        plain_http: Whether to use HTTP without TLS, also when secrets are sent. Connections to Docker's own registry
            always use TLS.
        authorities: Path of a PEM file with certificate authorities to trust in addition to the system's.
        proxies: HTTP proxies of the process.
        configs: Paths of configurations of Docker and podman, with logins; the first that has one counts.
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
    configs: tuple[Path, ...] = (Path("~/.docker/config.json"),)
    attempts: int = ATTEMPTS
    pause_s: float = PAUSE_S
    connect_s: float = 15.0
    read_s: float = 120.0
    stall_s: float = 30.0
    outage_s: float = 600.0
    say: Callable[[str], object] = lambda text: None


class RegistryTransport:
    """Sends HTTP requests to one registry about one repository.

    Args:
        reference: Host and repository.
        access: Settings for reaching registries.

    Raises:
        OciError: When the file with certificate authorities can't be read.
    """

    def __init__(self, reference: Reference, access: Access) -> None:
        self.access = access
        self._reference, self._host = reference, reference.host
        self._backoff = Backoff(retry=access.attempts - 1, first_s=access.pause_s, cap_s=MAX_PAUSE_S)
        self._plain = access.plain_http and reference.host != DEFAULT_HOST
        self._root = f"{'http' if self._plain else 'https'}://{reference.api_host}/v2/"
        self._times = {"connect_s": access.connect_s, "wait_s": access.read_s}
        self._http = HttpClient(
            proxies=access.proxies,
            ca_certs_pem="" if self._plain else _read_authorities(access.authorities),
            socket_options=SOCKET_OPTIONS,
        )
        configs = [config.expanduser() for config in access.configs]
        self._login = RegistryLogin(
            self._http,
            lambda: load_credentials(reference.host, reference.repository, *configs),
            plain=self._plain,
        )

    def retry(self, act: Callable[[], T]) -> T:
        """Return the result of a function, which is called again after a PassingError, at most `attempts` times.

        Raises:
            PassingError: When the last call raises it.
        """
        for attempt in range(1, self.access.attempts):
            try:
                return act()
            except PassingError as error:
                wait_s = error.wait_s or self._backoff.pause_s(attempt)
            time.sleep(wait_s)
        return act()

    def once(self, method: str, url: str, scope: str, what: str, wanted: Collection[int], **options: Any) -> HttpAnswer:
        """Send a request once and return the answer; arguments and errors are those of `stream`."""
        return self._read(self.stream(method, url, scope, what, wanted, **options))

    def stream(
        self,
        method: str,
        url: str,
        scope: str,
        what: str,
        wanted: Collection[int],
        *,
        body: Body | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> HttpResponse:
        """Send a request once, with a login, and follow redirects where repeating it is safe.

        Args:
            method: HTTP method.
            url: URL of the request.
            scope: Scope that a token must allow.
            what: Name of the content, for errors.
            wanted: HTTP statuses of a response that is returned.
            body: Body of the request. A function is called for each sending, and yields it in small parts, to which
                the time limit applies separately; an exception from it ends the request.
            headers: Headers of the request; Content-Length too when the body is a function.

        Returns:
            The response with its body unread; the caller closes it.

        Raises:
            AccessError: When the registry refuses access.
            PassingError: When the registry can't be reached, the response breaks off, or its status may pass.
            OciError: When the registry responds with another status.
        """
        for _ in range(MAX_REDIRECTS + 1):
            try:
                response = self._send_authenticated(method, url, scope, headers, body)
                place = response.headers.get("Location")
                if response.status not in REDIRECTS or not place or method not in ("GET", "HEAD"):
                    break
                self._read(response)
                url = self._follow(url, place)
            except (DeliveryError, ValueError, *BROKEN) as error:
                raise self._explain(error) from error
        else:
            raise RegistryError(f"{self._host} redirects more than {MAX_REDIRECTS} times")
        if response.status not in wanted:
            raise build_error(self._read(response), what)
        return response

    def _send_authenticated(
        self, method: str, url: str, scope: str, headers: Mapping[str, str], body: Body | None
    ) -> HttpResponse:
        """Send a request, and send it again with a login when the registry asks for one."""
        origin = split_url(url)[0]
        if origin[0] != "https" and not self._plain:
            raise RegistryError(
                f"{self._host} redirects to {url[:120]!r}, which is not https",
                hint="have the registry's proxy set X-Forwarded-Proto: https",
            )
        ours = origin == split_url(self._root)[0]
        for may_log_in in (ours, False):
            sent = {
                "User-Agent": f"eaves/{eaves.__version__}",
                **headers,
                **(self._login.header(scope) if ours else {}),
            }
            content: Any = body() if callable(body) else body
            with closing(content) if callable(body) else nullcontext():
                response = self._http.open(method, url, body=content, headers=sent, **self._times)
            challenge = response.headers.get("WWW-Authenticate")
            if response.status != 401 or not challenge or not may_log_in:
                break
            self._read(response)
            self._login.authenticate(challenge, scope)
        return response

    def _follow(self, url: str, place: str) -> str:
        """Return the absolute URL of a Location header, which may be relative to the URL of the request."""
        try:
            return urljoin(url, place)
        except ValueError as error:
            raise self._explain(error) from error

    def _read(self, response: HttpResponse) -> HttpAnswer:
        """Read a response to its end, so that its connection can be used again."""
        try:
            return read_answer(response, max_bytes=MAX_DOCUMENT_BYTES)
        except LargeAnswerError as error:
            message = f"the registry's answer is larger than the limit for a document, {MAX_DOCUMENT_BYTES} bytes"
            raise RegistryError(message) from error
        except (ValueError, *BROKEN) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> RegistryError:
        """Return the error for a request without a response."""
        found = explain(error)
        if found.kind == CERTIFICATE:
            message, hint = f"the certificate of {self._host} is not trusted: {found.reason}", "--registry-ca"
            return RegistryError(message[:300], hint=f"name its certificate authority with {hint}")
        if found.kind == TLS and ("WRONG_VERSION_NUMBER" in found.reason or "record layer" in found.reason):
            return RegistryError(f"{self._host} doesn't support TLS", hint="allow plain HTTP with --plain-http")
        if isinstance(error, ValueError):
            return RegistryError(
                f"{self._host} names what is not a valid address: {error}", hint="check the registry's name"
            )
        hint = "check the registry's name and the network, then run the command again"
        # A proxy that refuses (4xx) stays so; with 5xx it can't reach the registry itself.
        refuses = 400 <= getattr(error.__cause__, "status", 0) < 500
        return PassingError(
            f"{self._host} can't be reached: {found.reason}"[:300],
            hint=found.hint if found.kind == PROXY else hint,
            reason=found.reason,
            is_away=not refuses,
        )


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


def build_error(answer: HttpAnswer, what: str) -> OciError:
    """Return the error for a status: an AccessError for 401 and 403, an OciNotFoundError for 404.

    It is a PassingError when the request may be sent again within `MAX_PAUSE_S`.
    """
    details, wait_s = _describe_errors(answer), parse_retry_after(answer.headers)
    hint: str | None
    match answer.status:
        case 401 | 403:
            hint = "log in with your container tool, for example `docker login`"
            return AccessError(f"{what}: access denied ({answer.status}){details}", hint=hint)
        case 404:
            return OciNotFoundError(f"{what} doesn't exist at the registry{details}", hint="check the name")
        case 413:
            text, hint = f"{what} is larger than the registry's limit", "raise the limit at the registry"
        case 429:
            wait = " for now" if wait_s is None else f" for {wait_s:.0f} s"
            text, hint = f"{what}: the registry accepts no more requests{wait}", "try again later"
        case _ if any(phrase in answer.body for phrase in _WRONG_PROTOCOL):
            text, hint, details = f"{what}: the registry accepts only TLS", "remove --plain-http", ""
        case status:
            text, hint = f"{what}: the registry answered {status}", "try again later" if status >= 500 else None
    if answer.status not in RETRIED or (wait_s or 0) > MAX_PAUSE_S:
        return RegistryError(f"{text}{details}", hint=hint)
    reason, is_away = f"the registry answered {answer.status}", answer.status in GATEWAY
    return PassingError(f"{text}{details}", hint=hint, reason=reason, is_away=is_away, wait_s=wait_s or 0)


def _describe_errors(answer: HttpAnswer) -> str:
    """Return the registry's error messages as text. Source: distribution-spec, error codes."""
    try:
        errors = json.loads(answer.body)["errors"]
        text = "; ".join(f"{one.get('code')}: {one.get('message')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return f": {text[:200]}" if text.isprintable() else ""

"""HTTP client that requests one picture: it logs in, follows redirects, and checks the image.

One time limit covers all these requests together, whatever the server does: a timer ends them. The timer uses real
time, because sockets can't use the clock of a test.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import parse_url

from eaves import media_type
from eaves.credentials.folder import Credentials
from eaves.credentials.placeholders import fill_in
from eaves.credentials.redact import redact, redact_values
from eaves.errors import ConfigError, DeliveryError, Fault
from eaves.http_client.connection_errors import find_connection_fault
from eaves.http_client.pools import HttpClient
from eaves.http_client.retry_after import parse_retry_after
from eaves.sources.context import Cause, SourceContext
from eaves.sources.http.kind import PORTS, HttpSourceSettings
from eaves.sources.http.login import Authentication

MAX_STEPS = 6
"""Maximum number of HTTP requests for one picture, including those after redirects and challenges."""
CONNECT_TIMEOUT_S = 10.0
LOGIN_S = 300.0
"""Pause after the server refused the password, seconds. Many cameras lock an account after five wrong passwords within
some minutes."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""HTTP statuses of redirects whose target has the same picture. Source: RFC 9110, section 15.4."""
UNREACHABLE = "it can't be reached: "
_CHUNK_BYTES = 64 << 10
_TAIL_BYTES = 4_096
"""Number of bytes at the end of the data that are searched for the end mark, because some cameras append padding."""
_ENDS = {"image/jpeg": b"\xff\xd9", "image/png": b"IEND", "image/gif": b";"}
_HEADERS = {"User-Agent": "eaves", "Accept": "image/*", "Accept-Encoding": "identity, gzip;q=0.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A picture in a server's answer.

    Attributes:
        data: Encoded image.
        headers: Headers of the answer; names are found in any case.
        url: URL of the request, without credentials.
    """

    data: bytes = field(repr=False)
    headers: Mapping[str, str]
    url: str


class NoSnapshotError(DeliveryError):
    """Error of a request that gave no picture.

    Args:
        message: Reason without credentials; the same reason has the same text each time, so that it is logged once.
        cause: Cause under which a received picture is counted as dropped; None when no picture was received.
        retry_after_s: Minimum time before the next request, seconds, by Retry-After or after a refused login.
    """

    def __init__(self, message: str, *, cause: Cause | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after_s = retry_after_s


class SnapshotClient:
    """Requests pictures from one server, with the credentials of one moment. Not thread-safe, except for `abort`.

    Args:
        settings: Picture to request.
        context: Interface to the agent.
        credentials: Credentials from the files; when they have no user name, that in the URL is used.

    Raises:
        ConfigError: When a certificate of the credentials can't be used.
    """

    def __init__(self, settings: HttpSourceSettings, context: SourceContext, credentials: Credentials) -> None:
        self._context = context
        pair = (credentials.certificate, credentials.key)
        try:
            self._http = HttpClient(
                proxies=context.proxies,
                ca_certs_pem=credentials.authorities_pem,
                certificate=(pair[0], pair[1]) if pair[0] and pair[1] else None,
                connections=1,
            )
        except ValueError as error:
            fault = Fault(origin="credentials", path=str(context.credentials), message=str(error))
            raise ConfigError([fault], hint=f"ls -l {context.credentials}") from error
        url = fill_in(settings.url, credentials)
        parts = urlsplit(url)
        username, password = credentials.username, credentials.password
        if not username:
            username, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._url = _strip(url)
        self._shown = redact(_strip(settings.url))
        self._secrets = (credentials.password, password)
        self._authentication = Authentication(username, password)
        self._timeout_s = settings.timeout_s
        self._receiving = False

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def abort(self) -> None:
        """End the current exchange. May be called from any thread."""
        self._http.abort()

    def fetch(self, now: float) -> Snapshot:
        """Return the current picture, or raise NoSnapshotError; `now` is the wall-clock time, Unix seconds."""
        deadline, self._receiving = time.monotonic() + self._timeout_s, False
        timer = threading.Timer(self._timeout_s, self._http.abort)
        timer.daemon = True
        timer.start()
        try:
            return self._follow(now, deadline)
        except RedirectError as error:
            raise self._fault(str(error)) from error
        except (NoSnapshotError, HTTPError, OSError, ValueError) as error:
            if time.monotonic() >= deadline:  # the timer ended the connection, so its error isn't the reason
                what = f"did not send a complete image within {self._timeout_s:g} s"
                raise self._fault(what, cause="unreadable" if self._receiving else None) from error
            if isinstance(error, NoSnapshotError):
                raise
            raise self._fault(_explain(error)) from error
        finally:
            timer.cancel()

    def _follow(self, now: float, deadline: float) -> Snapshot:
        url, answered = self._url, False
        for _ in range(MAX_STEPS):
            response = self._request(url, deadline)
            try:
                if response.status == 200:
                    return Snapshot(data=self._read(response, deadline), headers=response.headers, url=self._shown)
                _discard(response)
                if response.status == 401:
                    self._log_in(response, answered=answered)
                    answered = True
                elif response.status in REDIRECTS and (location := response.headers.get("location")):
                    url, answered = find_target(url, location), False
                else:
                    retry_after_s = parse_retry_after(response.headers.get("retry-after"), now)
                    raise self._fault(f"answers with status {response.status}", retry_after_s=retry_after_s)
            finally:
                response.close()
        raise self._fault(f"redirects or asks for a login more than {MAX_STEPS} times")

    def _request(self, url: str, deadline: float, *, again: bool = True) -> urllib3.BaseHTTPResponse:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        headers = {**_HEADERS, **self._authentication.headers("GET", parse_url(url).request_uri)}
        timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, left_s), read=left_s)
        try:
            return self._http.request("GET", url, headers=headers, timeout=timeout)
        except ProtocolError:
            # A server may have closed an idle connection while the request was under way. Source: RFC 9110, 9.2.2.
            if not again or self._context.stopping:
                raise
            return self._request(url, deadline, again=False)

    def _log_in(self, response: urllib3.BaseHTTPResponse, *, answered: bool) -> None:
        """Store the server's challenge, so that the next request answers it.

        `answered` says that the last request has already answered a challenge, so the user name or password is wrong.
        """
        if answered:
            raise self._fault("refuses the user name or the password", retry_after_s=LOGIN_S)
        if not self._authentication.challenge(response.headers.getlist("www-authenticate")):
            asks = "asks for a login, but supports neither Basic nor a known form of Digest authentication"
            if not self._authentication.username:
                asks = "asks for a login, but the credentials contain no user name"
            raise self._fault(asks)

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """Return the answer's image after checking it."""
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()[:80]
        if content_type.startswith("multipart/"):
            raise self._fault(
                f"answers with a stream ({content_type}), which the kind `camera` reads, not with a single image",
                cause="unsupported",
            )
        length = response.headers.get("content-length", "")
        if "content-encoding" not in response.headers and length.isdecimal() and int(length) > self._context.max_bytes:
            raise self._fault(f"answers with more than {self._context.max_bytes} bytes", cause="too_large")
        try:
            data = self._read_all(response, deadline)
        except (HTTPError, OSError, ValueError) as error:
            raise self._fault("closed the connection before the image was complete", cause="unreadable") from error
        if not media_type.is_readable(data):
            what = f"answers with {content_type or 'content'} that is not an image in a format that functions can read"
            raise self._fault(what, cause="unsupported")
        framed = length or "transfer-encoding" in response.headers
        if not framed and not has_end(data):
            raise self._fault("closed the connection before the image was complete", cause="unreadable")
        return data

    def _read_all(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        data = bytearray()
        while part := response.read1(_CHUNK_BYTES, decode_content=True):
            data += part
            self._receiving = True
            if len(data) > self._context.max_bytes:
                raise self._fault(f"answers with more than {self._context.max_bytes} bytes", cause="too_large")
            if time.monotonic() > deadline:
                raise TimeoutError
        response.release_conn()
        return bytes(data)

    def _fault(self, what: str, *, cause: Cause | None = None, retry_after_s: float | None = None) -> NoSnapshotError:
        shown = f"{self._shown} {redact_values(what, self._secrets)}"
        return NoSnapshotError(shown, cause=cause, retry_after_s=retry_after_s)


def _strip(url: str) -> str:
    """Return the address without user name, password and fragment, which aren't sent."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _discard(response: urllib3.BaseHTTPResponse) -> None:
    """Read the body of an answer that has no picture; when it is short, its connection is kept for the next request."""
    if len(response.read(_CHUNK_BYTES, decode_content=False)) < _CHUNK_BYTES:
        response.release_conn()


def _explain(error: Exception) -> str:
    """Return why a request got no answer; the same fault gives the same text each time."""
    if isinstance(error, HTTPError) and (fault := find_connection_fault(error)) is not None:
        return f"can't be reached: {fault.reason[:160].removeprefix(UNREACHABLE)}"
    return f"doesn't answer ({type(error).__name__})"


class RedirectError(Exception):
    """A redirect leads to where requests, which carry credentials, must not go; the message says where."""


def find_target(url: str, location: str) -> str:
    """Return the URL that a redirect leads to: only the same host is allowed, because requests carry credentials.

    Raises:
        RedirectError: When the redirect leads to another host or port, from https:// to http://, or to no valid URL.
    """
    here = urlsplit(url)
    try:
        there = urlsplit(urljoin(url, location.strip()))
        port = there.port
    except ValueError:
        raise RedirectError("redirects to an invalid address") from None
    if there.scheme not in PORTS or there.hostname != here.hostname:
        raise RedirectError(f"redirects to another host, {(there.hostname or '')[:100]!r}")
    if (here.scheme, there.scheme) != ("http", "https"):
        if there.scheme != here.scheme:
            raise RedirectError("redirects from https:// to http://")
        if (port or PORTS[there.scheme]) != (here.port or PORTS[here.scheme]):
            raise RedirectError(f"redirects to another port, {port}")
    host = there.netloc.rpartition("@")[2]  # a user name in a redirect is not sent
    return urlunsplit((there.scheme, host, there.path or "/", there.query, ""))


def has_end(data: bytes) -> bool:
    """Return whether the data of an image contain the end mark of their format.

    Formats that give their size at the beginning have no end mark; the result is then True.
    """
    mark = _ENDS.get(media_type.sniff(data))
    return mark is None or mark in data[-_TAIL_BYTES:]

"""HTTP client that requests one picture: it logs in, follows redirects, and checks the image.

One time limit covers all these requests together, whatever the server does. It is in real time, because sockets can't
use the clock of a test.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import unquote, urlsplit, urlunsplit

from eaves import media_type
from eaves.credentials import Credentials, fill_in
from eaves.errors import DeliveryError, UnreachableError
from eaves.http_client.client import (
    BROKEN,
    CONNECT_TIMEOUT_S,
    MAX_ERROR_BYTES,
    HttpClient,
    HttpResponse,
    iter_body,
    read_answer,
)
from eaves.http_client.explain import explain
from eaves.http_client.headers import REDIRECTS, find_redirect, parse_retry_after, split_url
from eaves.redact import redact, redact_values
from eaves.sources.context import Cause, SourceContext
from eaves.sources.http.kind import HttpSourceSettings
from eaves.sources.http.login import Authentication

MAX_STEPS = 6
"""Maximum number of HTTP requests for one picture, including those after redirects and challenges."""
LOGIN_S = 300.0
"""Pause after the server refused the password, seconds. Many cameras lock an account after five wrong passwords within
some minutes."""
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
    headers: Mapping[str, str] | Message
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
    """Requests pictures from one server, with the credentials of one moment. Not thread-safe.

    Args:
        settings: Picture to request.
        context: Interface to the agent.
        credentials: Credentials from the files; when they have no user name, that in the URL is used.
        http: HTTP client with these credentials.
    """

    def __init__(
        self, settings: HttpSourceSettings, context: SourceContext, credentials: Credentials, http: HttpClient
    ) -> None:
        self._context, self.http = context, http
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

    def fetch(self) -> Snapshot:
        """Return the current picture, or raise NoSnapshotError."""
        deadline, self._receiving = time.monotonic() + self._timeout_s, False
        try:
            return self._follow(deadline)
        except (DeliveryError, ValueError, *BROKEN) as error:
            if time.monotonic() >= deadline:  # the connection was ended, so its error isn't the reason
                what = f"did not send a complete image within {self._timeout_s:g} s"
                raise self._fault(what, cause="unreadable" if self._receiving else None) from error
            if isinstance(error, NoSnapshotError):
                raise
            what = f"doesn't answer ({type(error).__name__})"
            if isinstance(error, UnreachableError):
                what = f"can't be reached: {explain(error).reason[:160]}"
            raise self._fault(what) from error

    def _follow(self, deadline: float) -> Snapshot:
        url, answered = self._url, False
        for _ in range(MAX_STEPS):
            headers = {**_HEADERS, **self._authentication.headers("GET", split_url(url)[2])}
            left_s = max(deadline - time.monotonic(), 0.001)
            with self.http.open(
                "GET", url, headers=headers, connect_s=min(CONNECT_TIMEOUT_S, left_s), wait_s=left_s, total_s=left_s
            ) as response:
                if response.status == 200:
                    return Snapshot(data=self._read(response), headers=response.headers, url=self._shown)
                read_answer(response, max_bytes=MAX_ERROR_BYTES)
            if response.status == 401:
                self._log_in(response, answered=answered)
                answered = True
            elif response.status in REDIRECTS and (location := response.headers.get("location")):
                try:
                    url, answered = find_redirect(url, location), False
                except ValueError as error:
                    raise self._fault(str(error)) from error
            else:
                retry_after_s = parse_retry_after(response.headers)
                raise self._fault(f"answers with status {response.status}", retry_after_s=retry_after_s)
        raise self._fault(f"redirects or asks for a login more than {MAX_STEPS} times")

    def _log_in(self, response: HttpResponse, *, answered: bool) -> None:
        """Store the server's challenge, so that the next request answers it.

        `answered` says that the last request has already answered a challenge, so the user name or password is wrong.
        """
        if answered:
            raise self._fault("refuses the user name or the password", retry_after_s=LOGIN_S)
        if not self._authentication.challenge(response.headers.get_all("www-authenticate", [])):
            asks = "asks for a login, but supports neither Basic nor a known form of Digest authentication"
            if not self._authentication.username:
                asks = "asks for a login, but the credentials contain no user name"
            raise self._fault(asks)

    def _read(self, response: HttpResponse) -> bytes:
        """Return the answer's image after checking it."""
        max_bytes = self._context.max_bytes
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()[:80]
        if content_type.startswith("multipart/"):
            raise self._fault(
                f"answers with a stream ({content_type}), which the kind `camera` reads, not with a single image",
                cause="unsupported",
            )
        too_large = self._fault(f"answers with more than {max_bytes} bytes", cause="too_large")
        if "content-encoding" not in response.headers and (response.length or 0) > max_bytes:
            raise too_large
        received = bytearray()
        incomplete = self._fault("closed the connection before the image was complete", cause="unreadable")
        try:
            for part in iter_body(response):
                received += part
                self._receiving = True
                if len(received) > max_bytes:
                    raise too_large
        except (ValueError, *BROKEN) as error:
            raise incomplete from error
        data = bytes(received)
        if not media_type.is_readable(data):
            what = f"answers with {content_type or 'content'} that is not an image in a format that functions can read"
            raise self._fault(what, cause="unsupported")
        if not response.is_framed and not has_end(data):
            raise incomplete
        return data

    def _fault(self, what: str, *, cause: Cause | None = None, retry_after_s: float | None = None) -> NoSnapshotError:
        shown = f"{self._shown} {redact_values(what, self._secrets)}"
        return NoSnapshotError(shown, cause=cause, retry_after_s=retry_after_s)


def _strip(url: str) -> str:
    """Return the address without user name, password and fragment, which aren't sent."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def has_end(data: bytes) -> bool:
    """Return whether the data of an image contain the end mark of their format.

    Formats that give their size at the beginning have no end mark; the result is then True.
    """
    mark = _ENDS.get(media_type.sniff(data))
    return mark is None or mark in data[-_TAIL_BYTES:]

"""Download of a blob as a stream: after an interruption of the link, it resumes at the byte where it stopped.

Two limits end a download, and both are counted anew after each byte that arrives. One is the maximum number of
attempts, for a registry that responds without sending the content. The other is a maximum time, for a registry that
can't be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import urllib3

from eaves.base.backoff import Backoff
from eaves.errors import RegistryError
from eaves.oci.outage import DownloadError, describe_amount, describe_outage
from eaves.oci.registry.transport import BusyError, OutOfReachError, RegistryTransport, is_passing

PIECE_BYTES = 1 << 16
"""Maximum number of bytes that are read at once from the connection. Bytes that have arrived are returned immediately,
so an interruption loses none."""
PAUSE_CAP_S = 5.0
"""Maximum pause between two attempts to reach the registry, seconds; it is short, so that a link that is up for only
ten seconds is used."""
SLICE_S = 0.2
"""Interval at which a waiting download calls `poll`, seconds, to notice that it was stopped."""
GATEWAY = frozenset({502, 503, 504})
"""Statuses that a gateway returns when the registry behind it is out of reach. Source: RFC 9110, sections 15.6.3 to
15.6.5.
"""


class Download:
    """A stream of the content at a URL, which resumes after interruptions. The reader must verify the digest.

    Args:
        transport: Transport to the registry.
        url: URL of the content.
        scope: Scope that a token must allow.
        what: Name of the content in error messages.
        size: Size of the content in bytes.
        start: Offset of the first byte to read.
        poll: Function that is called several times a second while no bytes arrive; an exception from it ends the
            download.

    Raises:
        OciNotFoundError: When the content doesn't exist.
        RegistryError: When the registry fails.
    """

    def __init__(
        self,
        transport: RegistryTransport,
        url: str,
        scope: str,
        what: str,
        *,
        size: int,
        start: int = 0,
        poll: Callable[[], object] = lambda: None,
    ) -> None:
        self._transport = transport
        self._url, self._scope, self._what = url, scope, what
        self._got, self._size, self._poll = start, size, poll
        self._backoff = Backoff(retry=None, first_s=transport.pause_s, cap_s=max(PAUSE_CAP_S, transport.pause_s))
        self._failures = self._answered = 0
        self._moved_at = time.monotonic()
        self._response: urllib3.BaseHTTPResponse | None = None
        transport.outage.begin(self, start, size)
        try:
            self._response = self._open()
        except BaseException:
            self.close()
            raise

    def read(self, size: int) -> bytes:
        """Wait for the next bytes and return at most `size` of them; empty at the end of the content.

        Raises:
            RegistryError: When the registry sends no more bytes, or is out of reach for too long.
        """
        while True:
            if self._response is None:
                self._response = self._open()
            try:
                # Not decoded, because the digest is of the bytes that are transferred, whatever encoding a cache
                # claims.
                piece = self._response.read1(min(size, PIECE_BYTES), decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                self._drop()
                if self._got == self._size:
                    return b""
                self._wait(error, answered=True)
                continue
            if piece:
                self._got += len(piece)
                self._failures, self._answered, self._moved_at = 0, 0, time.monotonic()
                self._transport.outage.moved(self, self._got, self._size)
            return piece

    def close(self) -> None:
        """Close the connection, unless the content was read completely."""
        self._transport.outage.end(self)
        self._drop()

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _open(self) -> urllib3.BaseHTTPResponse:
        """Request the content from the next byte on, with retries, and return the response positioned at that byte."""
        ranged = True
        while True:
            try:
                headers = {"Range": f"bytes={self._got}-"} if self._got and ranged else {}
                response = self._transport.stream(self._url, self._scope, headers, self._what)
            except BusyError as error:
                self._wait(error, answered=error.status not in GATEWAY, pause_s=error.wait_s)
                continue
            except RegistryError as error:
                if not is_passing(error):
                    raise
                self._wait(error, answered=not isinstance(error, OutOfReachError))
                continue
            self._response = response
            try:
                if self._continues_at_next_byte(response):
                    return response
                if not headers:
                    raise RegistryError(
                        f"{self._what}: the registry's answer starts at another byte than requested",
                        hint="run the command again",
                    )
                self._drop()
                ranged = False  # the registry supports ranges but not this one, so request the whole content
            except urllib3.exceptions.HTTPError as error:
                self._drop()
                self._wait(error, answered=True)

    def _continues_at_next_byte(self, response: urllib3.BaseHTTPResponse) -> bool:
        """Return whether a response begins at the next byte that is needed.

        A response with the whole content is read up to that byte, and the result is then True.
        """
        if response.status == 206:
            start = response.headers.get("Content-Range", "").partition("-")[0].strip()
            return start == f"bytes {self._got}"
        if response.status == 416:
            return False
        left = self._got
        while left:
            piece = response.read1(min(left, PIECE_BYTES), decode_content=False)
            if not piece:
                raise RegistryError(f"{self._what} became shorter during the download", hint="run the command again")
            left -= len(piece)
            self._poll()
        return True

    def _wait(self, error: Exception, *, answered: bool, pause_s: float = 0.0) -> None:
        """Pause before the next attempt.

        Args:
            error: Exception of the failed attempt.
            answered: Whether the registry has responded, so that the link is up and the attempt counts against the
                maximum.
            pause_s: Pause that the registry asks for, in seconds.

        Raises:
            DownloadError: When no attempt is left.
        """
        self._failures += 1
        self._answered += answered
        reason = (
            describe_outage(error) if not isinstance(error, BusyError) else (f"the registry answered {error.status}")
        )
        idle_s = time.monotonic() - self._moved_at
        here = describe_amount(self._got, self._size)
        if self._answered >= self._transport.attempts:
            if isinstance(error, RegistryError):
                raise error
            raise DownloadError(
                f"the download of {self._what} was interrupted too many times at {here}: {error}"[:300],
                hint=("run the command again; it continues the download"),
            )
        left_s = self._transport.outage_s - idle_s
        if left_s <= 0:
            raise DownloadError(
                f"the download of {self._what} received no data for {_describe_time(idle_s)} ({reason}), after {here}",
                hint="run the command again when the registry can be reached",
            ) from error
        until = time.monotonic() + min(max(self._backoff.pause_s(self._failures), pause_s), left_s)
        while (rest_s := until - time.monotonic()) > 0:
            self._transport.outage.wait(reason)
            self._poll()
            time.sleep(min(rest_s, SLICE_S))


def _describe_time(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} s"

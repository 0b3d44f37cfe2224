"""Download of a blob as a stream: after an interruption of the link, it resumes at the byte where it stopped.

Two limits end a download, and both are counted anew after each byte that arrives. One is the maximum number of
attempts, for a registry that responds without sending the content. The other is a maximum time, for a registry that
can't be reached.
"""

from __future__ import annotations

import time

from eaves.base.backoff import Backoff
from eaves.errors import RegistryError
from eaves.http_client.client import BROKEN, HttpResponse
from eaves.http_client.explain import explain
from eaves.oci.registry.authentication import PassingError
from eaves.oci.registry.transport import RegistryTransport

PIECE_BYTES = 1 << 16
"""Maximum number of bytes that are read at once from the connection. Bytes that have arrived are returned immediately,
so an interruption loses none."""
PAUSE_CAP_S = 5.0
"""Maximum pause between two attempts to reach the registry, seconds; it is short, so that a link that is up for only
ten seconds is used."""
FIRST_REPORT_S, REPORT_EVERY_S = 3.0, 30.0
"""Time without arriving bytes after which the first message about it is printed, and between further ones, seconds."""
_RETRY_HINT = "run the command again when the registry can be reached; layers that have arrived completely are kept"


class Download:
    """A stream of the content at a URL, which resumes after interruptions. The reader must verify the digest.

    Args:
        transport: Transport to the registry.
        url: URL of the content.
        scope: Scope that a token must allow.
        what: Name of the content in error messages.
        size: Size of the content in bytes.

    Raises:
        OciNotFoundError: When the content doesn't exist.
        RegistryError: When the registry fails.
    """

    def __init__(self, transport: RegistryTransport, url: str, scope: str, what: str, size: int) -> None:
        self._transport, self._access = transport, transport.access
        self._url, self._scope, self._what = url, scope, what
        self._got, self._size = 0, size
        self._backoff = Backoff(retry=None, first_s=self._access.pause_s, cap_s=max(PAUSE_CAP_S, self._access.pause_s))
        self._start_counting()
        self._response: HttpResponse | None = None
        self._read(0)

    def read(self, size: int) -> bytes:
        """Wait for the next bytes and return at most `size` of them; empty at the end of the content.

        Raises:
            RegistryError: When the registry sends no more bytes, or is out of reach for too long.
        """
        # Not decoded, because the digest is of the bytes that are transferred, whatever encoding a cache claims.
        piece = self._read(min(size, PIECE_BYTES))
        if piece:
            self._got += len(piece)
            if self._is_reported:
                here, lasted_s = describe_amount(self._got, self._size), time.monotonic() - self._moved_at
                self._access.say(f"the registry answers again after {lasted_s:.0f} s; the download continues at {here}")
            self._start_counting()
        return piece

    def close(self) -> None:
        """Close the connection, unless the content was read completely."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _start_counting(self) -> None:
        self._failures = self._answered = 0
        self._moved_at, self._is_reported = time.monotonic(), False
        self._report_at = self._moved_at + FIRST_REPORT_S

    def _read(self, size: int) -> bytes:
        """Return at most `size` of the next bytes, none at the end; with a size of 0, only wait for a response."""
        while True:
            try:
                self._response = self._response or self._open()
                return self._response.read1(size) if size else b""
            except PassingError as error:
                failure = error
            except BROKEN as error:
                if self._got == self._size:
                    return b""
                failure = self._interrupted(error)
            self.close()
            self._wait(failure)

    def _open(self) -> HttpResponse:
        """Request the content from the next byte on, and return the response positioned at that byte."""
        headers = {"Range": f"bytes={self._got}-"} if self._got else {}
        response = self._transport.stream("GET", self._url, self._scope, self._what, (200, 206), headers=headers)
        try:
            response.incoming.stall_s = self._access.stall_s  # shorter, as asking for the rest costs little
            start = response.headers.get("Content-Range", "").partition("-")[0].strip()
            if response.status == 206 and start != f"bytes {self._got}":
                raise RegistryError(
                    f"{self._what}: the registry's answer starts at another byte than requested",
                    hint="run the command again",
                )
            left = self._got if response.status == 200 else 0
            while left:
                piece = response.read1(min(left, PIECE_BYTES))
                if not piece:
                    raise RegistryError(
                        f"{self._what} became shorter during the download", hint="run the command again"
                    )
                left -= len(piece)
        except BaseException:
            response.close()
            raise
        return response

    def _interrupted(self, error: Exception) -> PassingError:
        """Return the error of a response that broke off; it counts as an attempt, as the registry has responded."""
        here = describe_amount(self._got, self._size)
        return PassingError(
            f"the download of {self._what} was interrupted too many times at {here}: {error}"[:300],
            hint=_RETRY_HINT,
            reason=explain(error).reason,
        )

    def _wait(self, error: PassingError) -> None:
        """Pause before the next attempt.

        Raises:
            RegistryError: When no attempt is left.
        """
        self._failures += 1
        self._answered += not error.is_away
        if self._answered >= self._access.attempts:
            raise error
        now, here = time.monotonic(), describe_amount(self._got, self._size)
        idle_s = now - self._moved_at
        left_s = self._access.outage_s - idle_s
        if left_s <= 0:
            raise RegistryError(
                f"the download of {self._what} received no data for {idle_s:.0f} s ({error.reason}), after {here}",
                hint=_RETRY_HINT,
            ) from error
        if now >= self._report_at:
            self._report_at, self._is_reported = now + REPORT_EVERY_S, True
            self._access.say(f"waiting for the registry: {error.reason} ({idle_s:.0f} s); {here} downloaded")
        time.sleep(min(max(self._backoff.pause_s(self._failures), error.wait_s), left_s))


def describe_amount(got: int, size: int) -> str:
    """Return a number of bytes and their total as text, such as `3.1 of 15.2 MB`."""
    unit, name = (1e6, "MB") if size >= 100_000 else (1e3, "KB")
    return f"{got / unit:.1f} of {size / unit:.1f} {name}"

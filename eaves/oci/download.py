"""A blob as a stream that survives a link which doesn't: what broke off goes on where it stopped."""

from __future__ import annotations

import time

import urllib3

from eaves.errors import RegistryError
from eaves.oci.transport import Transport


class Download:
    """Content at a URL; whoever reads it verifies it.

    Args:
        transport: The way there.
        url: Of it.
        scope: What a token must allow.
        what: It is, for errors.

    Raises:
        OciNotFoundError: When it isn't there.
        RegistryError: When the registry fails.
    """

    def __init__(self, transport: Transport, url: str, scope: str, what: str) -> None:
        self._transport = transport
        self._url, self._scope, self._what = url, scope, what
        self._got = 0
        self._response = transport.stream(url, scope, {}, what)

    def read(self, size: int) -> bytes:
        """Up to so many bytes more; none at the end.

        Raises:
            RegistryError: When it breaks off again and again, with nothing more in between.
        """
        for last, pause_s in self._transport.pauses():
            try:
                # As it is on the wire: a digest is of that, whatever encoding a cache claims for it.
                piece = self._response.read(size, decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                if last:
                    raise RegistryError(f"{self._what} broke off: {error}"[:300], hint="try again") from error
                time.sleep(pause_s)
                self._resume()
            else:
                self._got += len(piece)
                return piece
        raise AssertionError  # the last attempt returns or raises

    def close(self) -> None:
        """Give the connection up, unless all of it was read."""
        self._response.close()

    def _resume(self) -> None:
        self._response.close()
        headers = {"Range": f"bytes={self._got}-"} if self._got else {}
        self._response = self._transport.stream(self._url, self._scope, headers, self._what)
        start = self._response.headers.get("Content-Range", "").partition("-")[0].strip()
        if self._response.status == 206 and start == f"bytes {self._got}":
            return
        if self._response.status == 206 and self._got:
            raise RegistryError(f"{self._what}: the registry goes on at another byte than asked", hint="try again")
        left = self._got  # it knows no ranges and begins anew
        while left:
            try:
                piece = self._response.read(min(left, 1 << 20), decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                raise RegistryError(f"{self._what} broke off: {error}"[:300], hint="try again") from error
            if not piece:
                raise RegistryError(f"{self._what} is shorter than it was", hint="try again")
            left -= len(piece)

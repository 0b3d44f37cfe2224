"""HTTP client with a token or a certificate from a folder that is read again at each use."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from eaves.base.clock import SYSTEM, Clock
from eaves.base.files import Stamp, find_stamp
from eaves.credentials.folder import AUTHORITIES, CERTIFICATE, KEY, TOKEN, Credentials, read_credentials
from eaves.delivery import SinkClient
from eaves.errors import ConfigError, Fault
from eaves.http_client.proxies import DIRECT, Proxies


class CredentialedClient:
    """Provides a `SinkClient` and headers for the folder's current content.

    A renewed token or certificate needs no restart. Connections are kept until a certificate or an authority changes.
    Safe to use from many threads.

    Args:
        folder: Folder with `token`, `ca.crt`, and `tls.crt` with `tls.key`, as far as they are needed; None for no
            credentials.
        connections: Number of connections that are kept.
        ca_certs_pem: Certificate authorities to trust in addition to the system's and `ca.crt`, as PEM.
        proxies: Proxies of the process.
        socket_options: Options of every connection's socket; None for urllib3's own.
        clock: Wall clock and monotonic clock.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        connections: int = 1,
        ca_certs_pem: str = "",
        proxies: Proxies = DIRECT,
        socket_options: Sequence[tuple[int, int, int]] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._folder = folder
        self._connections = connections
        self._ca_certs_pem = ca_certs_pem
        self._proxies = proxies
        self._socket_options = socket_options
        self._clock = clock
        self._lock = threading.Lock()
        self._client: SinkClient | None = None
        self._headers: Mapping[str, str] = {}
        self._stamps: list[Stamp | None] = []
        self._used: list[Stamp | None] = []

    def current(self) -> tuple[SinkClient, Mapping[str, str]]:
        """Return the client, and the headers that authenticate the caller.

        Raises:
            ConfigError: When the folder or a file in it can't be read or used.
        """
        with self._lock:
            self._stamps = stamps = _stamps(self._folder)  # first, so that a change during the read is noticed later
            if self._client is None or stamps != self._used:
                credentials = read_credentials(self._folder)
                token = credentials.token
                if not token.isascii() or not token.isprintable():
                    message = "the token contains characters that are not allowed in an HTTP header"
                    raise self._fault(message, "write the token into this file again")
                if self._client is None or stamps[1:] != self._used[1:]:  # a token needs no new connections
                    made = self._build(credentials)
                    self.close()
                    self._client = made
                self._headers = {"Authorization": f"Bearer {token}"} if token else {}
                self._used = stamps
            return self._client, self._headers

    def is_changed(self) -> bool:
        """Return whether a file of the folder has changed since `current` read it."""
        return _stamps(self._folder) != self._stamps

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

    def _build(self, credentials: Credentials) -> SinkClient:
        certificate, key = credentials.certificate, credentials.key
        try:
            return SinkClient(
                connections=self._connections,
                ca_certs_pem="\n".join(filter(None, (credentials.authorities_pem, self._ca_certs_pem))),
                proxies=self._proxies,
                certificate=(certificate, key) if certificate and key else None,
                socket_options=self._socket_options,
                clock=self._clock,
            )
        except ValueError as error:
            raise self._fault(str(error), f"ls -l {self._folder}") from error

    def _fault(self, message: str, hint: str) -> ConfigError:
        return ConfigError([Fault(origin="credentials", path=str(self._folder), message=message)], hint=hint)


def _stamps(folder: Path | None) -> list[Stamp | None]:
    names = (TOKEN, AUTHORITIES, CERTIFICATE, KEY)
    return [] if folder is None else [find_stamp(folder / name) for name in names]

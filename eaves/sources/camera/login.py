"""Address of a stream with its credentials, which are kept out of every message."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from eaves.credentials.folder import AUTHORITIES, Credentials
from eaves.credentials.placeholders import fill_in
from eaves.credentials.redact import redact, redact_values
from eaves.reachability import PORTS
from eaves.sources.camera.settings import CameraSettings
from eaves.sources.camera.wire import StreamRequest


class StreamLogin:
    """A stream's address with the credentials of one attempt to connect.

    Args:
        settings: Settings of the stream.
        credentials: Credentials from the files. Their user name takes the place of that in the address.
        folder: Folder of the files; None without credentials.
    """

    def __init__(self, settings: CameraSettings, credentials: Credentials, folder: Path | None) -> None:
        self._settings = settings
        self._credentials, self._versions = credentials, _versions(credentials)
        self._folder = folder
        self._url = build_url(settings.url, credentials)
        self._secrets = (credentials.password, urlsplit(self._url).password or "")

    def request(self, max_bytes: int) -> StreamRequest:
        """Return what the decoder has to read.

        Args:
            max_bytes: Maximum size of an image, bytes.
        """
        settings, files = self._settings, self._credentials
        pair = (files.certificate, files.key)
        return StreamRequest(
            url=self._url,
            transport=settings.transport,
            every_s=settings.every_s,
            max_bytes=max_bytes,
            max_memory_bytes=settings.decoder_max_bytes,
            connect_timeout_s=settings.connect_timeout_s,
            authorities=str((self._folder / AUTHORITIES).absolute()) if self._folder and files.authorities_pem else "",
            certificate=str(pair[0].absolute()) if pair[0] else "",
            key=str(pair[1].absolute()) if pair[1] else "",
        )

    def hide(self, text: str) -> str:
        """Return a text of the decoder without credentials."""
        return redact_values(redact(text.replace(self._url, self._settings.url)), self._secrets)

    def outdated(self, credentials: Credentials) -> bool:
        """Return whether the credentials differ from those of this attempt."""
        return credentials != self._credentials or _versions(credentials) != self._versions


def build_url(url: str, credentials: Credentials) -> str:
    """Return a stream's address with user name and password from the files.

    Placeholders are filled in. A user name in the files replaces that of the address; a password without a
    user name is that of the user in the address. Both are percent-encoded.

    Args:
        url: Address in the settings; a path is returned as it is.
        credentials: Credentials from the files.
    """
    if urlsplit(url).scheme not in PORTS:
        return url
    parts = urlsplit(fill_in(url, credentials))
    username, password = credentials.username, credentials.password
    if not username and parts.username and password:
        username = unquote(parts.username)
    if username:
        user = f"{quote(username, safe='')}:{quote(password, safe='')}"
        parts = parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}")
    return urlunsplit(parts)


def _versions(credentials: Credentials) -> list[int]:
    """Return the modification times of certificate and key, nanoseconds since 1970: only the decoder reads them."""
    files = [file for file in (credentials.certificate, credentials.key) if file is not None]
    try:
        return [file.stat().st_mtime_ns for file in files]
    except OSError:
        return []

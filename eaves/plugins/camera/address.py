"""What a stream's address names, and the address with credentials, which no message shows."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from eaves.credentials import AUTHORITIES, Credentials, fill_in
from eaves.plugins.camera.kind import CameraSettings
from eaves.plugins.camera.messages import StreamRequest
from eaves.reachability import PORTS
from eaves.redact import redact, redact_values

DEVICES = Path("/dev")
_SYSTEM_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Files with the certificate authorities of Debian, Fedora, and Alpine."""


def find_path(url: str) -> Path | None:
    """Return the path of a device or a file; None for a stream of the network."""
    return None if urlsplit(url).scheme in PORTS else Path(url)


def is_recording(path: Path | None) -> bool:
    """Return whether a path is that of a file, which has an end, and not of a device."""
    return path is not None and DEVICES not in path.absolute().parents


class StreamLogin:
    """A stream's address with the credentials of one attempt to connect.

    Args:
        settings: Settings of the stream.
        credentials: Credentials from the files. Their user name takes the place of that in the address.
        folder: Folder of the files; None without credentials.
    """

    def __init__(self, settings: CameraSettings, credentials: Credentials, folder: Path | None) -> None:
        self._settings = settings
        self._credentials = credentials
        self._folder = folder
        self._url = build_url(settings.url, credentials)
        self._secrets = (credentials.password, urlsplit(self._url).password or "")

    def request(self, max_bytes: int) -> StreamRequest:
        """Return what the decoder has to read, with images of at most `max_bytes`."""
        settings, files = self._settings, self._credentials
        own = str((self._folder / AUTHORITIES).absolute()) if self._folder and files.authorities_pem else ""
        return StreamRequest(
            url=self._url,
            transport=settings.transport,
            every_s=settings.every_s,
            max_bytes=max_bytes,
            max_memory_bytes=settings.decoder_max_bytes,
            connect_timeout_s=settings.connect_timeout_s,
            authorities=own or find_system_authorities(),
            certificate=str(files.certificate.absolute()) if files.certificate else "",
            key=str(files.key.absolute()) if files.key else "",
        )

    def hide(self, text: str) -> str:
        """Return a text of the decoder without credentials."""
        return redact_values(redact(text.replace(self._url, self._settings.url)), self._secrets)


def find_system_authorities() -> str:
    """Return the path of the file with the system's certificate authorities; empty, which trusts none, without one."""
    candidates = (ssl.get_default_verify_paths().cafile or "", *_SYSTEM_AUTHORITIES)
    return next((path for path in candidates if path and Path(path).is_file()), "")


def build_url(url: str, credentials: Credentials) -> str:
    """Return a stream's address with user name and password from the files, percent-encoded; a path as it is.

    Placeholders are filled in. A user name in the files replaces that of the address; a password without a
    user name is that of the user in the address.
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

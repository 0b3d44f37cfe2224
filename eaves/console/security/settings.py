"""Settings of who may open the console: the address that it listens on, its credentials, and the length of sessions."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from eaves.credentials.folder import CERTIFICATE
from eaves.errors import ConfigError, Fault
from eaves.ingress import ServerTls
from eaves.web.origin import listens_on_loopback

HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """Settings of who may open the console.

    Attributes:
        host: Address that the console listens on. Off loopback, `credentials` must be set.
        credentials: Folder with `password`, `tls.crt` and `tls.key`, and perhaps `token`; None on loopback without a
            password. On loopback, a folder with only `password` gives plain HTTP with a login page.
        state: Directory in which the key of signatures and the list of logouts survive a restart of the process; None:
            they end with the process, and with them every session.
        session_s: Time after a login at which the session ends, seconds. 12 hours cover a shift with its handover.
        idle_s: Time after the last request of a person at which the session ends, seconds. Streams and images that an
            open page loads by itself don't count.
    """

    host: str = "127.0.0.1"
    credentials: Path | None = None
    state: Path | None = None
    session_s: float = 12 * HOUR_S
    idle_s: float = 2 * HOUR_S

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can connect."""
        return listens_on_loopback(self.host)

    def build_tls(self) -> ServerTls | None:
        """Return the certificates of the server; None on loopback, unless the folder of credentials has some.

        Raises:
            ConfigError: When a certificate is missing off loopback, or can't be used.
        """
        if self.credentials is None or (self.is_local and not (self.credentials / CERTIFICATE).exists()):
            return None
        return ServerTls(self.credentials)


LOOPBACK = SecuritySettings()
"""Only programs of this machine, without a password and without a state directory."""


def check_exposure(settings: SecuritySettings, *, folder: Path = Path("console"), command: str = "eaves up") -> None:
    """Check that a console that other machines can reach has a folder of credentials.

    Args:
        settings: Settings of the console.
        folder: Folder that the hint suggests; `prepare_credentials` creates it with its files.
        command: Command that the hint suggests.

    Raises:
        ConfigError: When the console would be open to other machines without TLS and a password.
    """
    if settings.is_local or settings.credentials is not None:
        return
    message = (
        f"{settings.host} is open to other machines, so the console needs a certificate and a password: "
        "name the folder of its credentials"
    )
    hint = (
        f"{command} --console-host {settings.host} --console-credentials {shlex.quote(str(folder))}"
        "   # missing files are created"
    )
    raise ConfigError([Fault(origin=command, path="console_host", message=message)], hint=hint)

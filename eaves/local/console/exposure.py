"""What the console needs when other machines can open it: its credentials, checked before the platform starts."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.web.origin import listens_on_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How people reach the console.

    Attributes:
        uses_tls: Whether it serves HTTPS.
        notices: Lines about created files, for the person who starts the platform.
    """

    uses_tls: bool = False
    notices: tuple[str, ...] = ()


def prepare_exposure(settings: LocalSettings, state: StateDirectory) -> Exposure:
    """Check and create the credentials of the console, so that a wrong setting is an error at the start.

    Raises:
        ConfigError: When other machines could open the console without a password, or a file can't be used.
        StorageError: When a file can't be created or read.
    """
    folder = settings.console_credentials
    is_local = listens_on_loopback(settings.console_host)
    if not settings.console or (is_local and folder is None):
        return Exposure()
    from eaves.console.security import SecuritySettings, check_exposure, prepare_credentials

    security = SecuritySettings(host=settings.console_host, credentials=folder)
    check_exposure(security, folder=state.root / "console")
    if folder is None:
        return Exposure()
    made = prepare_credentials(folder, host=settings.console_host, needs_tls=not is_local)
    notices = []
    if made.password is not None:
        notices.append(f"the console's password was created: {made.password}")
    if made.certificate is not None:
        notices.append(
            f"a certificate was created, which browsers don't know; they show this fingerprint (SHA-256): "
            f"{made.fingerprint}"
        )
    return Exposure(uses_tls=security.build_tls() is not None, notices=tuple(notices))

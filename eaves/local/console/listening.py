"""How people reach the console: its credentials, the port that the supervisor binds, and the URL that people open."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from eaves.errors import EavesError
from eaves.local.server import EVERY_ADDRESS, TcpPort, build_port_error, resolve_host
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.web.origin import is_loopback_host

BACKLOG = 128
"""Number of connections that wait while the console's process starts."""


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
    is_local = is_loopback_host(settings.console_host)
    if not settings.console or (is_local and folder is None):
        return Exposure()
    from eaves.console.security import SecuritySettings, check_exposure, prepare_credentials

    security = SecuritySettings(host=settings.console_host, credentials=folder)
    check_exposure(security, folder=state.root / "console")
    if folder is None:
        return Exposure()
    notices = prepare_credentials(folder, host=settings.console_host, needs_tls=not is_local)
    return Exposure(uses_tls=security.build_tls() is not None, notices=notices)


def open_port(host: str, port: int, *, uses_tls: bool) -> tuple[socket.socket, str, str]:
    """Bind the port of the console.

    On loopback a free port is taken when the wanted one is in use, so that two projects on one machine both have a
    console. Off loopback it isn't: firewalls and other people know the number of the port.

    Args:
        host: Name or address of this machine.
        port: Wanted TCP port; 0 for a free one.
        uses_tls: Whether the console serves HTTPS.

    Returns:
        The socket, which listens and accepts nothing yet; the address for people on this machine or, when the port is
            open to other machines, in its network; why it is another port than the wanted one, empty when it isn't.

    Raises:
        OSError: When the port can't be used.
        PlatformError: When the host has no address.
    """
    address, notice = resolve_host(host), ""
    try:
        bound = TcpPort(port, address).bind()
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not is_loopback_host(address):
            raise
        notice = f"port {port} is in use by another program, so the console has a free one"
        bound = TcpPort(0, address).bind()
    try:
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    shown = _find_own_address() if address in EVERY_ADDRESS else host
    name = f"[{shown}]" if ":" in shown else shown
    return bound, f"{'https' if uses_tls else 'http'}://{name}:{bound.getsockname()[1]}/", notice


def describe_failure(error: Exception, port: int) -> str:
    """Return why the console has no port, for people."""
    if isinstance(error, OSError):
        error = build_port_error(error, f"port {port}")
    return error.message if isinstance(error, EavesError) else str(error)


def _find_own_address() -> str:
    """Return the address of this machine in its network; its name when it has no network."""
    from eaves.console.security.exposure import find_own_addresses

    return next(iter(find_own_addresses()), socket.gethostname())

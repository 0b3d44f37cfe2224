"""Server that gives each connection a thread of its own, and limits their number; its certificates may be renewed.

A connection is new until a route has accepted its caller. New connections have half of the places; when those are
taken, the oldest new one is closed. So unknown callers can't displace known ones. When known callers have all places,
the connection that has been idle for longest is closed, or else the oldest.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

from eaves.base.files import Stamp, find_stamp, short_path
from eaves.credentials import AUTHORITIES, CERTIFICATE, KEY, build_fault, read_credentials
from eaves.errors import ConfigError, Fault
from eaves.ingress.connection import Connection, IngressLimits
from eaves.ingress.memory import MemoryBudget
from eaves.ingress.request import Serve
from eaves.logs import HourlyLog
from eaves.origin import is_loopback_host

BACKLOG = 128
PAUSE_S = 0.1
"""Pause after a connection couldn't be accepted, such as for want of a file descriptor, seconds."""

_log = logging.getLogger(__name__)


NEW, IDLE, BUSY = "new", "idle", "busy"
"""States of a connection, which decide which one is closed to make room for a new one."""


class IngressServer:
    """A running HTTP(S) server, which handles each connection in a thread of its own.

    Args:
        serve: Answers requests; called from several threads.
        limits: Limits of the server.
        host: Address of this machine to listen on.
        port: TCP port; 0 takes a free one.
        path: Path of a Unix socket of mode 0600, in place of host and port.
        listening: A TCP socket that is bound, in place of host, port and path, such as one that the parent process has
            opened, in which it stays usable.
        tls: Certificates; None for plain HTTP.
        name: Name of the server, for messages.

    Raises:
        ConfigError: When the server can't listen on the address.

    Attributes:
        serve: Answers requests.
        limits: Limits of the server.
        budget: Memory for bodies.
        programs_only: Whether requests that web pages may have sent are refused.
        failed_handshakes: Number of failed TLS handshakes since the start.
    """

    def __init__(
        self, serve: Serve, *, limits: IngressLimits, host: str = "", port: int = 0, path: Path | None = None,
        listening: socket.socket | None = None, tls: ServerTls | None = None, name: str = "receiver",
    ) -> None:  # fmt: skip
        self._path = path
        try:
            self._socket = listening or (_bind_port(host, port) if path is None else _bind_path(path))
            self._socket.listen(BACKLOG)
        except OSError as error:
            where, setting = (f"{host}:{port}", "port") if path is None else (str(path), "path")
            fault = Fault(origin=name, path=setting, message=f"can't listen on {where}: {error}")
            hint = "set another port with PORT" if path is None else "set another path for the socket"
            raise ConfigError([fault], hint=hint) from error
        self._socket.setblocking(False)
        self._inode = path.stat().st_ino if path is not None else 0
        bound: tuple[str, int] = self._socket.getsockname()[:2] if path is None else ("", 0)
        self._port = bound[1]
        self._tls = tls
        self._name = name
        self.serve, self.limits = serve, limits
        self.budget = MemoryBudget(limits.in_flight_bytes, largest=limits.max_bytes, name=name)
        self.programs_only = limits.programs_only and path is None and is_loopback_host(bound[0])
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        """Open connections, those whose state has changed last at the end."""
        self.failed_handshakes = 0
        self._failures = HourlyLog()  # a relay that doesn't trust a certificate tries all the time
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """TCP port, also after the end; 0 for a Unix socket."""
        return self._port

    @property
    def connections(self) -> int:
        """Number of open connections."""
        with self._lock:
            return len(self._open)

    def is_alive(self) -> bool:
        """Return whether the server accepts connections."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._stop.close()
        self._thread.join()
        self._socket.close()
        self._stopped.close()
        if self._path is not None:
            with suppress(FileNotFoundError):
                if self._path.stat().st_ino == self._inode:  # not that of a server that came later
                    self._path.unlink()
        with self._lock:
            for connection in self._open:
                _shut_down(connection)

    def _accept(self) -> None:
        waiting = select.poll()  # `select` refuses numbers of files above 1,023
        waiting.register(self._socket, select.POLLIN)
        waiting.register(self._stopped, select.POLLIN)
        while True:
            if any(file == self._stopped.fileno() for file, _ in waiting.poll()):
                return
            try:
                connection, address = self._socket.accept()
            except BlockingIOError:  # another process that listens on the same socket has it
                continue
            except OSError:
                time.sleep(PAUSE_S)
                continue
            try:
                self._start(connection, str(address[0]) if address else "")
            except OSError:  # the peer has reset it before TLS began, as tests of the port do
                connection.close()
            except Exception:  # noqa: BLE001 - later connections must still be served
                connection.close()
                _log.exception("a connection to the %s couldn't be served", self._name)

    def _start(self, connection: socket.socket, address: str) -> None:
        """Start a connection's thread, which makes the TLS handshake too, so that one that hangs delays no other."""
        if self._tls is not None:
            context = self._tls.context()
            connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._close_excess()
            self._open[connection] = NEW
        threading.Thread(
            target=self._run, args=(connection, address), name=f"{self._name} connection", daemon=True
        ).start()

    def _run(self, connection: socket.socket, address: str) -> None:
        try:
            Connection(self, connection, address).run()
        except (OSError, ValueError):  # the peer may end a connection at any time
            _log.debug("a connection was closed before its request was complete", exc_info=True)
        finally:
            with self._lock:
                self._open.pop(connection, None)
            _shut_down(connection)
            connection.close()

    def mark(self, connection: socket.socket, *, is_busy: bool) -> None:
        """Note whether a connection whose caller a route has accepted is answered; no effect after it was closed."""
        with self._lock:
            if self._open.pop(connection, None):
                self._open[connection] = BUSY if is_busy else IDLE

    def _close_excess(self) -> None:
        """Close a connection when there are too many; the caller holds the lock."""
        new, idle, busy = ([one for one, found in self._open.items() if found == state] for state in (NEW, IDLE, BUSY))
        if len(new) >= max(1, self.limits.connections // 2):
            closed = new[0]
        elif len(self._open) >= self.limits.connections:
            closed = (idle or busy)[0]
        else:
            return
        del self._open[closed]
        _shut_down(closed)

    def count_handshake(self, address: str, reason: str) -> None:
        """Count a failed handshake, and log the first of each address in an hour."""
        with self._lock:
            self.failed_handshakes += 1
            is_logged = self._failures.admit("handshake", address)
        if is_logged:
            _log.warning("a TLS handshake with %s failed: %s", address, reason[:256])


def _bind_port(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def _is_listening(path: Path) -> bool:
    """Return whether a process listens on a Unix socket; a file that an ended one left doesn't count."""
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(1.0)
        try:
            with short_path(path) as short:
                other.connect(short)
        except OSError:
            return False
        return True


def _bind_path(path: Path) -> socket.socket:
    """Bind a Unix socket; its permissions are restricted before a client can connect, which it can once it listens.

    Raises:
        OSError: When the socket can't be bound, or another process listens there.
    """
    if _is_listening(path):
        raise OSError(errno.EADDRINUSE, "another process listens there")
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    try:
        with short_path(path) as short:
            bound.bind(short)
        path.chmod(0o600)
    except OSError:
        bound.close()
        raise
    return bound


def _shut_down(connection: socket.socket) -> None:
    try:
        # The method of ssl.SSLSocket would take TLS away from the thread that reads the connection.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # the peer has closed the connection


_log = logging.getLogger(__name__)


class ServerTls:
    """Certificate of a folder, and the authorities of clients' certificates.

    A changed file is used from the next connection on. A file that can't be used, for example one that is half written,
    is logged, and the last valid certificate stays in use until the file is changed again.

    Args:
        folder: Folder with `tls.crt` and `tls.key`; with `ca.crt`, clients may show a certificate that an authority in
            it has signed.

    Raises:
        ConfigError: When the files can't be used at the start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._signature = self._sign()
        self._context = build_context(folder)

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the next connection."""
        with self._lock:
            signature = self._sign()
            if signature != self._signature:
                self._signature = signature
                try:
                    self._context = build_context(self._folder)
                    _log.info("the certificate in %s was read again", self._folder)
                except ConfigError as error:
                    _log.error("%s; the certificate that was read before stays in use", error.message)
            return self._context

    def _sign(self) -> list[Stamp | None]:
        return [find_stamp(self._folder / name) for name in (CERTIFICATE, KEY, AUTHORITIES)]


def build_context(folder: Path) -> ssl.SSLContext:
    """Build a TLS context with the files of a folder.

    Raises:
        ConfigError: When the folder has no certificate, or one that can't be used.
    """
    credentials = read_credentials(folder)
    if credentials.certificate is None or credentials.key is None:
        raise build_fault(
            folder, f"contains no {CERTIFICATE} and {KEY}", "put the server's certificate and key there, in PEM form"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(credentials.certificate, credentials.key)
        if credentials.authorities_pem:
            context.load_verify_locations(cadata=credentials.authorities_pem)
            context.verify_mode = ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        message = f"{CERTIFICATE}, {KEY} or {AUTHORITIES} can't be used: {error}"
        raise build_fault(folder, message, f"openssl x509 -in {folder / CERTIFICATE} -noout -subject -dates") from error
    return context

"""Client that sends HTTP requests over connections that are kept open, directly or through a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3

from eaves.http_client.open_sockets import OpenSockets
from eaves.http_client.proxies import DIRECT, Proxies, Proxy
from eaves.http_client.trust import build_tls_context


class HttpClient:
    """Sends single HTTP requests; many threads can use it. It follows no redirects and retries nothing.

    For an https:// server the proxy makes a tunnel (CONNECT); requests to an http:// server are forwarded by the proxy.

    Args:
        proxies: Proxies of the process.
        ca_certs_pem: Certificate authorities to trust in addition to the system's, as PEM; see `build_tls_context`.
        connections: Maximum number of connections kept open per host.
        timeout: Time limits of a request that sets none; None waits without limit.
        headers: Headers of every request that doesn't set them itself.
        certificate: Paths of a client certificate and its private key, as PEM, for servers that ask for one; proxies
            don't get it.
        socket_options: Options of every connection's socket, as `setsockopt` takes them, in place of urllib3's own.

    Raises:
        ValueError: When `ca_certs_pem` or `certificate` holds no certificate that can be read.
    """

    def __init__(
        self,
        *,
        proxies: Proxies = DIRECT,
        ca_certs_pem: str = "",
        connections: int = 8,
        timeout: urllib3.Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        socket_options: Sequence[tuple[int, int, int]] | None = None,
    ) -> None:
        self._proxies = proxies
        self._connections = connections
        self._timeout = timeout
        self._headers = dict(headers or {})
        self._socket_options = None if socket_options is None else list(socket_options)
        self._lock = threading.Lock()
        self._managers: dict[tuple[Proxy | None, bool], urllib3.PoolManager] = {}
        # Reading the system's authorities takes 20 ms, so it is done at the first use of TLS or when there are
        # certificates to check.
        self._trusted = build_tls_context(ca_certs_pem) if ca_certs_pem else None
        self._presented = _build_presented(ca_certs_pem, certificate) if certificate else None
        self._sockets = OpenSockets()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """Send one request and return the response with its body unread; the caller releases or closes it.

        Args:
            method: HTTP method.
            url: An http:// or https:// URL.
            headers: Headers to send in addition to those of the client.
            options: Further options of `urllib3.PoolManager.request`, such as `body` and `timeout`.

        Raises:
            urllib3.exceptions.HTTPError: When there is no response; `connection_errors` finds out whether anything was
                sent.
        """
        manager = self._manager(self._proxies.find(url), secure=url[:6].lower() == "https:")
        return manager.request(
            method,
            url,
            headers={**self._headers, **(headers or {})},
            retries=False,
            redirect=False,
            preload_content=False,
            **options,
        )

    def abort(self) -> None:
        """End every exchange in progress, from any thread; each thread that waits in one gets an exception."""
        self._sockets.shut_down()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()

    def _manager(self, proxy: Proxy | None, *, secure: bool) -> urllib3.PoolManager:
        with self._lock:
            key = (proxy, secure)
            if key not in self._managers:
                self._managers[key] = self._build_manager(proxy, secure=secure)
            return self._managers[key]

    def _build_manager(self, proxy: Proxy | None, *, secure: bool) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": self._connections, "timeout": self._timeout}
        if self._socket_options is not None:
            options["socket_options"] = self._socket_options
        if secure:
            options["ssl_context"] = self._presented or self._context()
        manager: urllib3.PoolManager
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            manager = urllib3.ProxyManager(
                proxy.url,
                proxy_headers=proxy.headers,
                proxy_ssl_context=self._context() if proxy.tls else None,
                **options,
            )
        self._sockets.follow(manager)
        return manager

    def _context(self) -> ssl.SSLContext:
        if self._trusted is None:
            self._trusted = build_tls_context()
        return self._trusted


def _build_presented(ca_certs_pem: str, certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = build_tls_context(ca_certs_pem)
    try:
        context.load_cert_chain(*certificate)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{certificate[0]} and its key can't be used: {error.strerror or error}") from error
    return context


def build_socket_options(*, idle_s: int, silent_s: int) -> tuple[tuple[int, int, int], ...]:
    """Return the options that `HttpClient` sets on each connection, as `setsockopt` takes them.

    With the kernel's defaults, lost packets are resent for 15 minutes.
    Source: tcp(7); RFC 5482.

    Args:
        idle_s: Seconds without a byte after which keepalives are sent, one every 5 s; 3 without an answer end the
            connection.
        silent_s: Seconds after which a byte or a keepalive without acknowledgement ends the connection.
    """
    return (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silent_s * 1000),
    )

"""The HTTP client that all others are built on: connections that are kept open, directly or through a proxy.

It is made of the standard library's `http.client`. urllib3 takes twice its processor time for an event, can't end an
exchange from another thread, and isn't in a function's container image, which fetches datarefs.
"""

from __future__ import annotations

import http.client
import io
import math
import select
import socket
import ssl
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self, cast

from eaves.base.timed_reader import TimedReader
from eaves.errors import DeliveryError, InterceptedError, UnreachableError
from eaves.http_client.explain import CONNECTION, NAME, TLS, ProxyError, explain
from eaves.http_client.headers import shorten_url, split_url
from eaves.http_client.proxies import DIRECT, PORTS, Proxies, Proxy
from eaves.http_client.trust import build_tls_context

CONNECT_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 16 << 20
MAX_ERROR_BYTES = 64 << 10
"""Maximum number of bytes that are read of the body of a response that isn't a success."""
KEEP_S = 45.0
"""Time for which an unused connection is kept, seconds. It is shorter than the times after which servers close one
(`functions.server.IDLE_S`, `IngressLimits.idle_s`), because a request that is sent at that moment would get no
response."""
BROKEN = (OSError, HTTPException)
"""Exceptions of a connection that breaks, or of an answer that isn't HTTP."""
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
CHUNK_BYTES = 64 << 10
_GZIP_WINDOW = 31
"""zlib window for gzip. Source: zlib's manual, inflateInit2: 15 bits of window, and 16 for a gzip header."""

Body = bytes | memoryview | Iterable[bytes | memoryview]
Dial = Callable[[str, int, float], socket.socket]
"""Function that connects to a host and a port within a number of seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An HTTP response with a body of limited size.

    Attributes:
        status: HTTP status.
        headers: Response headers, with names in lower case; values of a repeated header are joined with a comma.
        body: Whole body of a 2xx response; the first 64 KiB of any other.
        latency_ms: Time from sending to the last byte of the response, in milliseconds.
        is_framed: Whether the response said where its body ends; otherwise it may have been cut (HTTP/1.0).
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float = 0.0
    is_framed: bool = True


class LargeAnswerError(OSError):
    """A successful response whose body exceeds the maximum size."""


class HttpResponse(http.client.HTTPResponse):
    """A response whose body isn't read yet. `close` keeps its connection only if the body was read to its end.

    Attributes:
        incoming: Reads the socket, within the time limits.
        on_close: Function that is called once with the socket, and whether the connection can be used again.
    """

    on_close: Callable[..., None] | None = None

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._socket, self._is_whole = sock, False
        self._raw = self.fp.detach()
        self.incoming = TimedReader(sock, self._raw.readinto)
        self.fp = io.BufferedReader(self.incoming)

    def _read_status(self) -> tuple[str, int, str]:
        """Read the first line of an answer; `begin` skips interim answers, which the standard library takes for final.

        Source: RFC 9110, section 15.2: a client must be able to parse any number of 1xx before the final answer.
        """
        version, status, reason = super()._read_status()  # type: ignore[misc]
        is_interim = 100 <= status < 200 and status != http.client.SWITCHING_PROTOCOLS
        return version, http.client.CONTINUE if is_interim else status, reason

    @property
    def is_framed(self) -> bool:
        """Whether the response says where its body ends."""
        return self.chunked or self.length is not None

    def read1(self, n: int = -1, /) -> bytes:
        """Return at most `n` bytes that have arrived; empty at the end.

        Raises:
            IncompleteRead: When the body ends before its Content-Length, which the standard library doesn't notice.
        """
        part = super().read1(n)
        if not part and self.length:
            raise http.client.IncompleteRead(b"", self.length)
        self._is_whole = not part
        return part

    def close(self) -> None:
        """Close the response; closing it again has no effect."""
        super().close()
        self._raw.close()
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close(self._socket, keep=self._is_whole and not self.will_close and self.status >= http.client.OK)


class _Connection(http.client.HTTPConnection):
    """A connection to the server `key`: scheme, host and port. The head of an answer must be there at `head_by`."""

    auto_open = 0  # it would connect by name, without TLS
    used_at = 0.0
    head_by = math.inf

    def __init__(self, key: tuple[str, str, int], sock: socket.socket) -> None:
        self.default_port = PORTS[key[0]]
        super().__init__(key[1], key[2])
        self.key, self.sock = key, sock

    def response_class(self, sock: socket.socket, *args: Any, **options: Any) -> HttpResponse:  # type: ignore[override]
        """Return the response whose head is read next."""
        response = HttpResponse(sock, *args, **options)
        response.incoming.deadline = self.head_by
        return response


def _close_all(connections: Iterable[_Connection]) -> None:
    for connection in connections:
        connection.close()


class HttpClient:
    """Sends single HTTP requests; many threads can use it.

    It follows no redirects, and retries only a GET on a kept connection that the server has closed at that moment.

    For an https:// server a proxy makes a tunnel (CONNECT); requests to an http:// server are forwarded by it.

    Args:
        proxies: Proxies of the process; loopback addresses are always reached directly.
        ca_certs_pem: Certificate authorities to trust in addition to the system's, as PEM (Knative's `K_CA_CERTS`).
        certificate: Paths of a client certificate and its private key, as PEM, for servers that ask for one.
        connections: Maximum number of unused connections that are kept open.
        keep_s: Time for which an unused connection is kept, seconds.
        socket_options: Options of every connection's socket, as `setsockopt` takes them.
        tls: Function that returns the TLS context, in place of `ca_certs_pem` and `certificate`.
        server_name: Name that the server's certificate is checked for; empty means the URL's host.
        dial: Function that connects to a server, in place of DNS and proxies.

    Raises:
        ValueError: When `ca_certs_pem` or `certificate` holds no certificate that can be read.
    """

    def __init__(
        self,
        *,
        proxies: Proxies = DIRECT,
        ca_certs_pem: str = "",
        certificate: tuple[Path, Path] | None = None,
        connections: int = 16,
        keep_s: float = KEEP_S,
        socket_options: Sequence[tuple[int, int, int]] = NO_DELAY,
        tls: Callable[[], ssl.SSLContext] | None = None,
        server_name: str = "",
        dial: Dial | None = None,
    ) -> None:
        self._idle: list[_Connection] = []
        """Unused connections, those that were used last at the end."""
        # `__del__` would come after the sockets' own finalizers where a client is in a cycle of references.
        weakref.finalize(self, _close_all, self._idle).atexit = False
        self._proxies = proxies
        self._connections, self._keep_s = connections, keep_s
        self._socket_options = socket_options
        self._tls, self._server_name, self._dial = tls, server_name, dial
        self._lock = threading.Lock()
        self._used: set[socket.socket] = set()
        self._is_closed, self._aborts = False, 0
        # Reading the system's authorities takes 20 ms, so it is done at the first use of TLS or when there are
        # certificates to check.
        self._context = build_tls_context(ca_certs_pem, certificate) if ca_certs_pem or certificate else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all unused connections; those in use are closed when their exchange ends."""
        with self._lock:
            self._is_closed = True
            idle = self._idle[:]
            self._idle.clear()
        _close_all(idle)

    def abort(self) -> None:
        """End every exchange in progress, from any thread; each thread that waits in one gets an exception."""
        with self._lock:
            self._aborts += 1
            for sock in self._used:
                with suppress(OSError):  # ssl's own shutdown changes what another thread reads from
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def request(
        self,
        method: str,
        url: str,
        *,
        timeout_s: float,
        connect_s: float = CONNECT_TIMEOUT_S,
        max_bytes: int = MAX_ANSWER_BYTES,
        **options: Any,
    ) -> HttpAnswer:
        """Send one HTTP request and return the response unchanged.

        Args:
            method: HTTP method.
            url: URL of the request.
            timeout_s: Time limit from connecting to the last byte of the answer, in seconds.
            max_bytes: Maximum size of the body of a success.
            connect_s: Time limit for connecting, and for each part that is sent, in seconds.
            options: `headers` and `body` as for `open`.

        Raises:
            UnreachableError: When nothing was sent, because no connection was made, a proxy refused it or TLS failed.
            DeliveryError: When there is no usable response.
        """
        started = time.monotonic()
        try:
            connect_s = min(connect_s, timeout_s)
            response = self.open(method, url, connect_s=connect_s, wait_s=timeout_s, total_s=timeout_s, **options)
            answer = read_answer(response, max_bytes=max_bytes)
        except (*BROKEN, ValueError) as error:
            what = " ".join(str(error).split())[:256] or type(error).__name__
            raise DeliveryError(
                f"no answer from {shorten_url(url)}: {what}", hint="check that the receiving process runs"
            ) from error
        return replace(answer, latency_ms=(time.monotonic() - started) * 1000)

    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        connect_s: float = CONNECT_TIMEOUT_S,
        wait_s: float,
        total_s: float = math.inf,
    ) -> HttpResponse:
        """Send one request and return the response with its body unread; the caller closes it.

        Args:
            method: HTTP method.
            url: An http:// or https:// URL.
            headers: Headers of the request.
            body: Body of the request; one in parts needs a Content-Length header.
            connect_s: Time limit for connecting, and for each 64 KB that are sent, in seconds.
            wait_s: Time limit for the head of the response, and for each wait for bytes of its body, in seconds.
            total_s: Time limit from connecting to the last byte of the body, in seconds.

        Raises:
            UnreachableError: When nothing was sent.
            OSError: When the connection breaks, or time is over.
            HTTPException: When the answer isn't HTTP.
            ValueError: When the URL or a header is malformed.
        """
        key, place, target = split_url(url)
        sent, proxy = dict(headers or {}), self._proxies.find(url)
        if proxy is not None and key[0] == "http":
            sent, target = sent | proxy.headers, f"http://{place}{target}"
        if isinstance(body, bytes | memoryview) and body:
            sent.setdefault("Content-Length", str(len(body)))
        deadline = time.monotonic() + total_s

        def exchange(connection: _Connection) -> HttpResponse:
            sock = connection.sock
            try:
                sock.settimeout(connect_s)
                pieces = _cut_body(sock, body, connect_s, deadline) if body else None
                # A server may refuse a body by its headers and close before it has read it; its response can be read.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, target, cast("Any", pieces), sent)
                connection.head_by = min(deadline, time.monotonic() + wait_s)
                response = cast("HttpResponse", connection.getresponse())
                response.incoming.stall_s, response.incoming.deadline = wait_s, deadline
            except BaseException as error:
                self._end(connection, sock)
                if _refuses_certificate(error):
                    raise _build_unreachable(url, error) from error
                if explain(error).kind == TLS:
                    raise InterceptedError(_build_unreachable(url, error).message, hint=explain(error).hint) from error
                raise
            response.on_close = partial(self._end, connection)
            return response

        aborts = self._aborts
        if (kept := self._take(key)) is not None:
            try:
                return exchange(kept)
            except ConnectionError:
                # The server may have closed the unused connection while the request was under way. Source: RFC 9110,
                # section 9.2.2.
                if method not in ("GET", "HEAD") or self._aborts != aborts:
                    raise
        return exchange(_Connection(key, self.connect(url, connect_s)))

    def connect(self, url: str, timeout_s: float, *, tunnel: bool = False) -> socket.socket:
        """Return a connection to a URL's server, after the TLS handshake; the caller of this method closes it.

        Args:
            url: An http:// or https:// URL.
            timeout_s: Time limit for each step, seconds.
            tunnel: Whether a proxy makes a tunnel to an http:// server too.

        Raises:
            UnreachableError: When there is no connection.
        """
        (scheme, host, port), _, _ = split_url(url)
        proxy = self._proxies.find(url)
        sock: socket.socket | None = None
        aborts = self._aborts
        try:
            if self._dial is not None:
                sock = self._dial(host, port, timeout_s)
            elif proxy is not None:
                sock = connect_to_proxy(proxy, timeout_s)
            else:
                sock = socket.create_connection((host, port), timeout_s)
            self._use(sock, aborts)
            if self._dial is None and proxy is not None and (tunnel or scheme == "https"):
                open_tunnel(sock, proxy, host, port)
            for option in self._socket_options:
                sock.setsockopt(*option)
            if scheme == "https":
                name, plain = self._server_name or host.rstrip("."), sock
                sock = self._find_context().wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
                with self._lock:
                    self._used.discard(plain)
                self._use(sock, aborts)
                sock.do_handshake()
        except BaseException as error:
            if sock is not None:
                with self._lock:
                    self._used.discard(sock)
                sock.close()
            if isinstance(error, (*BROKEN, ValueError)):
                raise _build_unreachable(url, error) from error
            raise
        return sock

    def _use(self, sock: socket.socket, aborts: int) -> None:
        """Make a socket known to `abort`, unless that was called since its connection was begun."""
        with self._lock:
            if self._aborts != aborts:
                raise ConnectionAbortedError("the exchange was ended")
            self._used.add(sock)

    def _take(self, key: tuple[str, str, int]) -> _Connection | None:
        """Return the unused connection to a server that was used last; None when there is none that can be used."""
        while True:
            with self._lock:
                found = next((one for one in reversed(self._idle) if one.key == key), None)
                if found is None:
                    return None
                self._idle.remove(found)
                self._used.add(found.sock)
            if time.monotonic() - found.used_at < self._keep_s and not _is_readable(found.sock):
                return found
            self._end(found, found.sock)

    def _end(self, connection: _Connection, sock: socket.socket, *, keep: bool = False) -> None:
        """Close a connection after an exchange, or keep it for the next one in place of the one that waited longest."""
        with self._lock:
            self._used.discard(sock)
            ended = connection
            if keep and not self._is_closed:
                connection.used_at = time.monotonic()
                self._idle.append(connection)
                if len(self._idle) <= self._connections:
                    return
                ended = self._idle.pop(0)
        ended.close()

    def _find_context(self) -> ssl.SSLContext:
        if self._tls is not None:
            return self._tls()
        if self._context is None:
            self._context = build_tls_context()
        return self._context


def read_answer(response: HttpResponse, *, max_bytes: int) -> HttpAnswer:
    """Read a response, whose gzip is unpacked: the body of a success, or the first `MAX_ERROR_BYTES` of another.

    Args:
        response: Response whose body isn't read yet; it is closed.
        max_bytes: Maximum size of a success's body in bytes.

    Raises:
        LargeAnswerError: When the body of a success is larger.
        OSError: When the body breaks off or has no length, or time runs out.
        ValueError: When it is not well-formed gzip.
    """
    success = 200 <= response.status < 300
    limit = max_bytes if success else MAX_ERROR_BYTES
    content, is_framed = bytearray(), response.is_framed
    with response:
        for part in iter_body(response):
            content += part
            if len(content) > limit and success:
                raise LargeAnswerError(f"the answer is larger than {limit} bytes")
            if len(content) > limit:
                break
        if success and not is_framed and response.version >= 11:
            # The standard library treats the end of the connection as the end of the headers: a success that broke off
            # there looks like an empty one.
            raise OSError("the answer has no length, so an incomplete answer can't be detected")
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return HttpAnswer(status=response.status, headers=headers, body=bytes(content[:limit]), is_framed=is_framed)


def iter_body(response: HttpResponse) -> Iterator[bytes]:
    """Yield the parts of a body as they arrive; gzip is unpacked."""
    parts = iter(lambda: response.read1(CHUNK_BYTES), b"")
    packed = response.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip")
    return unpack_gzip(parts) if packed else parts


def unpack_gzip(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of one gzip member in pieces of at most `CHUNK_BYTES`.

    Raises:
        ValueError: When it isn't gzip, is incomplete, or something follows it.
    """
    inflating = zlib.decompressobj(wbits=_GZIP_WINDOW)
    for part in packed:
        rest = part
        while rest:
            if inflating.eof:
                raise ValueError("data follows the end of the gzip body")
            try:
                unpacked = inflating.decompress(rest, CHUNK_BYTES)
            except zlib.error as error:
                raise ValueError(f"the body is not gzip: {error}") from error
            if unpacked:
                yield unpacked
            rest = inflating.unconsumed_tail or inflating.unused_data
    while not inflating.eof:  # output that the last call had no room for
        unpacked = inflating.decompress(b"", CHUNK_BYTES)
        if not unpacked:
            raise ValueError("the gzip body is incomplete")
        yield unpacked


def connect_to_proxy(proxy: Proxy, timeout_s: float) -> socket.socket:
    """Connect to a proxy.

    Raises:
        ProxyError: When it can't be reached.
    """
    try:
        return socket.create_connection((proxy.host, proxy.port), timeout_s)
    except OSError as error:
        raise ProxyError(f"the proxy can't be reached: {explain(error).reason}") from error


def open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Make a proxy connect to a host or address; the socket, a connection to the proxy, is then connected to that.

    Source: RFC 9110, section 9.3.6 (CONNECT).

    Raises:
        ProxyError: When the proxy refuses, or doesn't answer.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{key}: {text}" for key, text in proxy.headers.items())]
    try:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("idna" if not place.isascii() else "ascii"))
        # Nothing arrives before the client sends, so the response's buffer takes none of the server's bytes.
        with HttpResponse(sock, method="CONNECT") as answer:
            answer.incoming.limit(stall_s=math.inf, total_s=sock.gettimeout() or math.inf)
            answer.begin()
            if answer.status != 200:
                message = f"the proxy refuses the connection: it answered {answer.status} {answer.reason}"
                raise ProxyError(message, status=answer.status)
    except ProxyError:
        raise
    except BROKEN as error:
        raise ProxyError(f"the proxy doesn't answer: {explain(error).reason}") from error


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
        *NO_DELAY,
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silent_s * 1000),
    )


def _cut_body(sock: socket.socket, body: Body, piece_s: float, deadline: float) -> Iterator[memoryview]:
    """Yield a body in pieces, each of which has a time limit of its own: that of `sendall` is for the whole call."""
    for part in (body,) if isinstance(body, bytes | memoryview) else body:
        view = memoryview(part)
        for start in range(0, len(view), CHUNK_BYTES):
            left_s = min(piece_s, deadline - time.monotonic())
            if left_s <= 0:
                raise TimeoutError("the time limit ended before everything was sent")
            sock.settimeout(left_s)
            yield view[start : start + CHUNK_BYTES]


def _refuses_certificate(error: BaseException) -> bool:
    """Return whether the server refuses the client's certificate, which it does after the handshake in TLS 1.3."""
    reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
    return "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))


def _build_unreachable(url: str, error: BaseException) -> UnreachableError:
    found = explain(error)
    reached = "it can't be reached: " if found.kind in (NAME, CONNECTION) else ""
    return UnreachableError(f"no connection to {shorten_url(url)}: {reached}{found.reason[:256]}", hint=found.hint)


def _is_readable(sock: socket.socket) -> bool:
    """Return whether an unused connection can't be used any more, because the server has closed it or sent bytes."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))

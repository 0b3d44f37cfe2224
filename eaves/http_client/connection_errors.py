"""Reasons for failures before a request was sent, when the network path is at fault and not the content."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass

from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

_PROXY_HINT = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and whether the proxy allows this address"
NOT_TRUSTED = "certificate is not trusted"
"""Value of `ConnectionFault.reason` when the server's certificate can't be verified."""
_TRUST_HINT = (
    "put its certificate authority into the file that SSL_CERT_FILE names, or into "
    "K_CA_CERTS for a sink; check this machine's clock"
)
_TLS_HINT = "check that it serves TLS 1.2 or newer at this port, or use http:// in its address"
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ENETUNREACH: "there is no route to its network",
    errno.EHOSTUNREACH: "there is no route to it",
    errno.ETIMEDOUT: "no answer in time",
}
_TUNNEL_REFUSED = "Tunnel connection failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFault:
    """The reason why a request was never sent.

    Attributes:
        reason: Text that says what failed, for a message; foreign text in it may be of any length.
        hint: The setting to check.
    """

    reason: str
    hint: str


def find_connection_fault(error: Exception) -> ConnectionFault | None:
    """Return why a request was never sent; None when at least a part of it may have been sent.

    urllib3 reports every failure that leaves no connection behind as a ProxyError, including failures after sending, so
    the exception within it decides.
    Source: exceptions that urllib3 2 raises when retries are off.

    Args:
        error: Exception that `HttpClient.request` raised.
    """
    by_proxy = isinstance(error, ProxyError)
    cause = error.original_error if isinstance(error, ProxyError) else error
    if isinstance(cause, SSLError | ssl.SSLError):
        return _find_tls_fault(cause, by_proxy=by_proxy)
    if by_proxy and _TUNNEL_REFUSED in str(cause):
        return ConnectionFault(reason=f"the proxy refuses the connection: {cause}", hint=_PROXY_HINT)
    if by_proxy and isinstance(cause, ReadTimeoutError):
        return ConnectionFault(reason="the proxy doesn't answer in time", hint=_PROXY_HINT)
    if isinstance(cause, NewConnectionError | ConnectTimeoutError):
        why = describe_unreachable(cause)
        reason = f"the proxy can't be reached: {why}" if by_proxy else f"it can't be reached: {why}"
        return ConnectionFault(reason=reason, hint=_PROXY_HINT if by_proxy else "check that the server is running")
    return None


def describe_unreachable(error: NewConnectionError | ConnectTimeoutError) -> str:
    """Return why there is no connection, in words that don't change; urllib3's text contains addresses in memory."""
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return "no answer in time"
    cause = error.__cause__ or error.__context__
    if isinstance(error, NameResolutionError) or isinstance(cause, socket.gaierror):
        return "its name is not found"
    if not isinstance(cause, OSError):
        return str(error)
    return describe_os_error(cause)


def describe_os_error(error: OSError) -> str:
    """Return why a connection could not be made, in words that are the same each time."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return _WORDS.get(error.errno or 0) or error.strerror or type(error).__name__


def _find_tls_fault(error: Exception, *, by_proxy: bool) -> ConnectionFault | None:
    """Return the reason for a failed TLS handshake; None when the connection just ended, perhaps after the handshake.

    Args:
        error: Exception of urllib3 or of the standard library.
        by_proxy: Whether the handshake was with a proxy.
    """
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        owner = "the proxy's" if by_proxy else "its"
        reason = f"{owner} {NOT_TRUSTED}: {inner.verify_message}"
        return ConnectionFault(reason=reason, hint=_TRUST_HINT)
    if isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    reason = f"TLS with the proxy failed: {inner}" if by_proxy else f"TLS failed: {inner}"
    return ConnectionFault(reason=reason, hint=_PROXY_HINT if by_proxy else _TLS_HINT)

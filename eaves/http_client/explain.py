"""Why a connection failed or broke, in words that are the same each time, with the setting to check."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

NAME, CONNECTION, CERTIFICATE, TLS, PROXY = "name", "connection", "certificate", "tls", "proxy"
_HINTS = {
    NAME: "check the name in the address, and this machine's DNS",
    CONNECTION: "check that the server is running",
    CERTIFICATE: "put its certificate authority into the file that SSL_CERT_FILE names, or into "
    "K_CA_CERTS for a sink; check this machine's clock",
    TLS: "check that it serves TLS 1.2 or newer at this port, or use http:// in its address",
    PROXY: "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and whether the proxy allows this address",
}
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ENETUNREACH: "there is no route to its network",
    errno.EHOSTUNREACH: "there is no route to it",
    **dict.fromkeys((errno.ECONNRESET, errno.EPIPE), "the connection was interrupted"),
}


class ProxyError(OSError):
    """A proxy that can't be reached, or refuses to connect; the message says which.

    Args:
        message: What the proxy did.
        status: HTTP status of its refusal; 0 when it wasn't reached.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a connection failed.

    Attributes:
        kind: What failed: `NAME` (the host has no address), `CONNECTION`, `CERTIFICATE`, `TLS` or `PROXY`.
        reason: Text that says what failed, for a message; foreign text in it may be of any length.
        hint: The setting to check.
    """

    kind: str
    reason: str
    hint: str


def explain(error: BaseException) -> Explanation:
    """Return why a connection failed or broke: the first cause that is known, of the error and of those behind it."""
    for cause in _iter_causes(error):
        match cause:
            case ProxyError():
                return _build(PROXY, str(cause))
            case ssl.SSLCertVerificationError():
                return _build(CERTIFICATE, f"its certificate is not trusted: {cause.verify_message}")
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                return _build(CONNECTION, "the connection was interrupted")
            case ssl.SSLError():
                return _build(TLS, f"TLS failed: {cause}")
            case socket.gaierror() | UnicodeError():
                return _build(NAME, "its name is not found")
            case TimeoutError():
                return _build(CONNECTION, "no answer in time")
            case OSError() if cause.errno:
                return _build(CONNECTION, _WORDS.get(cause.errno) or cause.strerror or type(cause).__name__)
    return _build(CONNECTION, "the connection was interrupted")


def _build(kind: str, reason: str) -> Explanation:
    return Explanation(kind=kind, reason=reason, hint=_HINTS[kind])


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those behind it; urllib3, in boto3, has some as their first argument."""
    while error is not None:
        yield error
        inner = next((one for one in error.args if isinstance(one, BaseException)), None)
        error = inner or error.__cause__ or error.__context__

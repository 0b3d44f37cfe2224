"""Steps to a source's server: its name, its TCP port and its certificate, each with the reason when it fails.

The source connects by itself afterwards. These steps exist because a library's error often doesn't say which of the
three has failed.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from eaves.credentials.folder import Credentials
from eaves.http_client.connection_errors import describe_os_error
from eaves.http_client.trust import build_tls_context
from eaves.reachability import parse_address
from eaves.sources.trial.findings import Failure, TrialStep

CONNECT_S = 5.0
"""Time limit of each step, seconds."""
T = TypeVar("T")


class StepError(Exception):
    """A step that failed.

    Args:
        name: Name of the step.
        failure: Reason of the failure.
    """

    def __init__(self, name: str, failure: Failure) -> None:
        super().__init__(failure.message)
        self.name = name
        self.failure = failure


def check_server(address: str, credentials: Credentials, *, deadline: float, folder: str) -> Iterator[TrialStep]:
    """Yield each step to a server that succeeds.

    Args:
        address: `HOST:PORT`, or `tls://HOST:PORT` with TLS, as in `SourceKind.addresses`.
        credentials: Credentials of the source.
        deadline: Monotonic time at which the trial ends, seconds.
        folder: Folder of the credentials, for hints.

    Raises:
        StepError: At the first step that fails.
    """
    host, port, with_tls = parse_address(address)
    found = _resolve(host, port, deadline)
    yield TrialStep(name="address", detail=found if found == host else f"{host} is {found}")
    began = time.monotonic()
    connection = _connect(host, port, deadline)
    with connection:
        yield TrialStep(
            name="connection", detail=f"TCP port {port} answers in {_describe_ms(time.monotonic() - began)}"
        )
        if with_tls:
            yield _check_certificate(connection, host, port, credentials, deadline, folder)


def call_within(call: Callable[[], T], seconds: float) -> T:
    """Call a function in a thread of its own, and return its result.

    Args:
        call: Function that can't be interrupted, such as the resolution of a name.
        seconds: Time limit.

    Raises:
        TimeoutError: When the time limit has passed; the thread is left to itself.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="trial-step", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


def _left_s(deadline: float) -> float:
    return max(0.1, min(CONNECT_S, deadline - time.monotonic()))


def _resolve(host: str, port: int, deadline: float) -> str:
    """Return the first address of a host."""
    try:
        found = call_within(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), _left_s(deadline))
    except TimeoutError:
        failure = Failure(
            code="unreachable",
            message=f"the name server didn't answer for {host} in time",
            hint="use the IP address of the server, or check this machine's DNS",
        )
        raise StepError("address", failure) from None
    except (OSError, UnicodeError) as error:
        failure = Failure(
            code="unreachable",
            message=f"the name {host} is not found",
            hint="check the spelling, or use the IP address of the server",
        )
        raise StepError("address", failure) from error
    return str(found[0][4][0])


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    left_s = _left_s(deadline)
    try:
        return socket.create_connection((host, port), left_s)
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError)
        reason = f"no answer within {left_s:.0f} s" if isinstance(error, TimeoutError) else describe_os_error(error)
        own = _is_loopback(host)
        hint = (
            f"check the port in the address; nothing listens at {port}"
            if refused or own
            else f"check that the device is on, and that no firewall is between it and this machine: ping {host}"
        )
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise StepError(
            "connection", Failure(code="unreachable", message=f"can't connect to {where}: {reason}", hint=hint)
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_certificate(
    connection: socket.socket, host: str, port: int, credentials: Credentials, deadline: float, folder: str
) -> TrialStep:
    """Make the TLS handshake; an alert counts as an answer, because the server may want a client's certificate."""
    try:
        context = build_tls_context(credentials.authorities_pem)
    except ValueError as error:
        failure = Failure(
            code="untrusted", message=f"ca.crt can't be used: {error}", hint=f"ls -l {folder or 'CREDENTIALS'}"
        )
        raise StepError("TLS", failure) from error
    connection.settimeout(_left_s(deadline))
    try:
        if credentials.certificate and credentials.key:
            context.load_cert_chain(credentials.certificate, credentials.key)
        with context.wrap_socket(connection, server_hostname=host) as wrapped:
            return TrialStep(name="TLS", detail=f"{wrapped.version()}; the certificate is trusted")
    except ssl.SSLCertVerificationError as error:
        failure = Failure(
            code="untrusted",
            message=f"the certificate of {host}:{port} is not trusted: {error.verify_message}",
            hint=_explain_trust(error, folder),
        )
        raise StepError("TLS", failure) from error
    except ssl.SSLError as error:
        if "ALERT" in str(error.reason):
            return TrialStep(name="TLS", detail="the server asks for a certificate of the client")
        failure = Failure(
            code="untrusted",
            message=f"TLS with {host}:{port} failed: {error.reason or error}",
            hint="check whether the server uses TLS at this port",
        )
        raise StepError("TLS", failure) from error
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else describe_os_error(error)
        failure = Failure(
            code="unreachable",
            message=f"TLS with {host}:{port} failed: {reason}",
            hint="check whether the server uses TLS at this port",
        )
        raise StepError("TLS", failure) from error


def _explain_trust(error: ssl.SSLCertVerificationError, folder: str) -> str:
    """Return the hint for a certificate that isn't trusted.

    Source: OpenSSL, x509_vfy.h: 62 and 64 are another host name or address, 9 and 10 a time outside the validity.
    """
    if error.verify_code in {62, 64}:
        return "use a name in the address that the certificate is for"
    if error.verify_code in {9, 10}:
        return "check the clocks of this machine and of the server; the certificate isn't valid now"
    where = f"{folder}/ca.crt" if folder else "ca.crt in a folder that --credentials names"
    return f"write the certificate of its authority, or its own if it signs itself, to {where}"


def _describe_ms(seconds: float) -> str:
    if seconds < 0.001:
        return "less than 1 ms"
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

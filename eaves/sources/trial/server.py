"""Steps to a source's server: its name, its TCP port and its certificate, each with the reason when it fails.

The source connects by itself afterwards. These steps exist because a library's error often doesn't say which of the
three has failed.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

from eaves.credentials.folder import Credentials
from eaves.http_client.connection_errors import describe_os_error
from eaves.http_client.trust import build_tls_context
from eaves.reachability import parse_address
from eaves.sources.trial.failures import Failure, FailureCode

CONNECT_S = 5.0
"""Time limit of a connection, and again of its handshake, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStep:
    """One step of a trial that succeeded, or the one that failed, with a short text without credentials."""

    name: str
    detail: str
    passed: bool = True


class StepError(Exception):
    """A step that failed.

    Args:
        name: Name of the step.
        code: Kind of the failure.
        message: Reason as a sentence.
        hint: What to do.
    """

    def __init__(self, name: str, code: FailureCode, message: str, hint: str) -> None:
        super().__init__(message)
        self.name = name
        self.failure = Failure(code=code, message=message, hint=hint)


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
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:
        message, hint = f"the name {host} is not found", "check the spelling, or use the IP address of the server"
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            message = f"the name server didn't answer for {host}"
            hint = "use the IP address of the server, or check this machine's DNS"
        raise StepError("address", "unreachable", message, hint) from error
    yield TrialStep(name="address", detail=host if found == host else f"{host} is {found}")
    began = time.monotonic()
    left_s = max(0.1, min(CONNECT_S, deadline - began))
    try:
        connection = socket.create_connection((host, port), left_s)
    except OSError as error:
        hint = f"check that the device is on, and that no firewall is between it and this machine: ping {host}"
        if isinstance(error, ConnectionRefusedError):
            hint = f"check the port in the address; nothing listens at {port}"
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        message = f"can't connect to {where}: {describe_os_error(error)}"
        raise StepError("connection", "unreachable", message, hint) from error
    with connection:
        took_ms = (time.monotonic() - began) * 1_000
        took = f"{took_ms:.0f} ms" if took_ms >= 1 else "less than 1 ms"
        yield TrialStep(name="connection", detail=f"TCP port {port} answers in {took}")
        if with_tls:
            yield _check_certificate(connection, host, port, credentials, folder)


def _check_certificate(
    connection: socket.socket, host: str, port: int, credentials: Credentials, folder: str
) -> TrialStep:
    """Make the TLS handshake; an alert counts as an answer, because the server may want a client's certificate."""
    try:
        context = build_tls_context(credentials.authorities_pem)
    except ValueError as error:
        hint = f"ls -l {folder or 'CREDENTIALS'}"
        raise StepError("TLS", "untrusted", f"ca.crt can't be used: {error}", hint) from error
    try:
        if credentials.certificate and credentials.key:
            context.load_cert_chain(credentials.certificate, credentials.key)
        with context.wrap_socket(connection, server_hostname=host) as wrapped:
            return TrialStep(name="TLS", detail=f"{wrapped.version()}; the certificate is trusted")
    except ssl.SSLCertVerificationError as error:
        message = f"the certificate of {host}:{port} is not trusted: {error.verify_message}"
        raise StepError("TLS", "untrusted", message, _explain_trust(error, folder)) from error
    except OSError as error:
        reason = error.reason or error if isinstance(error, ssl.SSLError) else describe_os_error(error)
        if "ALERT" in str(reason):
            return TrialStep(name="TLS", detail="the server asks for a certificate of the client")
        hint = "check whether the server uses TLS at this port"
        raise StepError("TLS", "unreachable", f"TLS with {host}:{port} failed: {reason}", hint) from error


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

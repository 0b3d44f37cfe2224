"""HTTP to a port inside a pod, through the API server: `kubectl port-forward` for one request.

The container runtime makes the connection on the loopback of the pod's own network namespace. So no NetworkPolicy
applies to it, on any node and with any network plugin. The API server's pod proxy, in contrast, connects to the pod
from the control plane's node, which a policy for the pod's ingress refuses where the network enforces it.

The official client's `kubernetes.stream.portforward` is not used: it has no time limit, needs a thread for each
connection, which writes to stderr when the connection breaks, and patches the client that it gets while other threads
use it.

Source: Kubernetes, pkg/kubelet/portforward/websocket.go: binary frames that start with a channel's number, two channels
a port (data, then errors), and on each a first frame with the port's number.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any, cast
from urllib.parse import urlsplit

from websocket import (
    ABNF,
    WebSocket,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketTimeoutException,
)

from eaves.delivery.response_rules import shorten
from eaves.errors import ClusterError, DeniedError, UnreachableError
from eaves.http_client.client import BROKEN, CONNECT_TIMEOUT_S, HttpAnswer, HttpResponse, read_answer
from knative.client.api_errors import ApiCall, build_api_error, build_unreachable_error, parse_status
from knative.client.transport import MAX_BODY_BYTES, ApiConnection, ApiRequest, ApiTransport

PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERRORS = 0, 1


def forward(transport: ApiTransport, request: ApiRequest, port: int, path: str, timeout_s: float) -> HttpAnswer:
    """Send a GET to a port of a pod; return its answer of any status.

    Args:
        transport: Transport to the API server.
        request: Request for the pod's subresource `portforward`.
        port: TCP port in the pod.
        path: Path in the pod, with its query.
        timeout_s: Time limit of the request and its answer, seconds.
    """
    started = time.monotonic()
    ends_at = started + timeout_s
    websocket = _open(transport, f"{request.path}?ports={port}", request.call, ends_at, timeout_s)
    stream = _Stream(websocket, ends_at)
    try:
        client = HTTPConnection("localhost")
        client.response_class = HttpResponse
        client.sock = cast(Any, stream)  # it is connected already
        client.request("GET", path)
        answer = read_answer(cast("HttpResponse", client.getresponse()), max_bytes=MAX_BODY_BYTES)
    except (WebSocketException, *BROKEN) as error:
        if stream.refusal:
            raise _nobody_listens(stream.refusal, port, request.call) from error
        raise build_unreachable_error(_translate(error), request.call, timeout_s) from error
    finally:
        with suppress(WebSocketException, OSError):
            websocket.send_close()
        websocket.shutdown()  # type: ignore[no-untyped-call]
    return replace(answer, latency_ms=(time.monotonic() - started) * 1000)


def _translate(error: Exception) -> Exception:
    return TimeoutError(str(error)) if isinstance(error, WebSocketTimeoutException) else error


def _open(transport: ApiTransport, path: str, call: ApiCall, ends_at: float, limit_s: float) -> WebSocket:
    """Open a WebSocket to a pod's port-forward at the API server; renew credentials once if they are refused."""
    renewed = False
    while True:
        connection, identity, generation = transport.credentials()
        try:
            return _handshake(connection, path, identity, max(ends_at - time.monotonic(), 0.001))
        except WebSocketBadStatusException as error:
            if error.status_code == 401 and not renewed:
                transport.renew(generation)
                renewed = True
                continue
            raise _refused(error, call) from error
        except (WebSocketTimeoutException, WebSocketConnectionClosedException, UnreachableError, *BROKEN) as error:
            raise build_unreachable_error(_translate(error), call, limit_s) from error
        except WebSocketException as error:  # a redirect, or an answer without a WebSocket
            raise _no_websocket(call, str(error)) from error


def _refused(error: WebSocketBadStatusException, call: ApiCall) -> ClusterError:
    """Build the error for a refused WebSocket.

    Source: Kubernetes, pkg/kubelet/server: the message of a kubelet names the header Upgrade when a proxy has removed
    that header.
    """
    code, body = error.status_code, error.resp_body or b""
    refused = build_api_error(code, body, call)
    if code == 403:  # the answer to a user who may get and not create is only `pods "NAME" is forbidden: `
        return refused if isinstance(refused, DeniedError) else build_api_error(code, b"", call)
    passed = code >= 500 or (parse_status(body) is not None and "upgrade" not in refused.message.lower())
    return refused if passed else _no_websocket(call, f"it answered {code}: {body.decode(errors='replace')}")


def _no_websocket(call: ApiCall, reason: str) -> ClusterError:
    return ClusterError(
        f"{call.where}: {call.server} does not support port-forwards: {shorten(reason)}",
        hint="let the proxy before the API server pass WebSockets",
    )


def _handshake(connection: ApiConnection, path: str, identity: Mapping[str, str], left_s: float) -> WebSocket:
    server, timeout_s = urlsplit(connection.server), min(CONNECT_TIMEOUT_S, left_s)
    sock = connection.http.connect(connection.server, timeout_s, tunnel=True)
    websocket = WebSocket()
    try:
        websocket.connect(  # type: ignore[no-untyped-call]
            f"{'wss' if server.scheme == 'https' else 'ws'}://{server.netloc}{server.path}{path}",
            header=[f"{name}: {value}" for name, value in identity.items()],
            subprotocols=[PROTOCOL],
            suppress_origin=True,
            timeout=timeout_s,
            redirect_limit=0,
            socket=sock,  # the library would look for proxies in the environment
        )
    except BaseException:
        sock.close()
        raise
    return websocket


class _Stream(io.RawIOBase):
    """A forwarded port, with the methods of a socket that Python's HTTPConnection calls.

    Its `refusal` is the container runtime's reason when the port can't be reached.
    """

    def __init__(self, websocket: WebSocket, ends_at: float) -> None:
        self.refusal = ""
        self._websocket, self._ends_at = websocket, ends_at
        self._data, self._greeted, self._ended = b"", {_DATA: False, _ERRORS: False}, False

    def sendall(self, data: Any) -> None:
        """Send bytes to the forwarded port."""
        self._wait()
        self._websocket.send_binary(bytes([_DATA]) + bytes(data))

    def makefile(self, *args: Any, **options: Any) -> io.BufferedReader:
        """Return a reader of the bytes that the forwarded port sends."""
        return io.BufferedReader(self)

    def settimeout(self, _: float | None) -> None:
        """Do nothing, since the stream has a time limit of its own."""

    def close(self) -> None:
        """Do nothing, since the function that opened the WebSocket closes it."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._data and not self._ended:
            self._receive()
        size = min(len(buffer), len(self._data))
        buffer[:size], self._data = self._data[:size], self._data[size:]
        return size

    def _receive(self) -> None:
        self._wait()
        opcode, data = self._websocket.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            self._ended = True
        elif data:
            self._take(data[0], data[1:])

    def _take(self, channel: int, data: bytes) -> None:
        if channel in self._greeted and not self._greeted[channel]:
            self._greeted[channel] = True  # the first frame holds the port's number
        elif channel == _DATA:
            self._data = data
        elif channel == _ERRORS:
            self.refusal += data.decode(errors="replace")
            self._ended = True

    def _wait(self) -> None:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the time limit has passed")
        self._websocket.settimeout(left_s)


def _nobody_listens(refusal: str, port: int, call: ApiCall) -> ClusterError:
    answer_text = (
        f"port {port} refuses connections"
        if re.search("connection refused", refusal, re.IGNORECASE)
        else shorten(refusal)
    )
    see = call.kubectl(f"describe pod {call.name}", namespaced=True)
    return ClusterError(
        f"{call.where}: {call.what} does not answer: {answer_text}", hint=f"this command shows what runs: {see}"
    )

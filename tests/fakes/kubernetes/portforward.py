"""Port-forwards of the simulated API server: the WebSocket that a kubelet speaks, and HTTP on its first channel.

Source: RFC 6455; Kubernetes, pkg/kubelet/portforward/websocket.go: binary frames that start with a channel's number,
and on each channel a first frame with the port's number.
"""

import base64
import hashlib
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.kubernetes.wire import Reply, Request

PROTOCOL = "v4.channel.k8s.io"
_ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE = 2, 8
REFUSED = (
    "error forwarding port {port} to pod 316de6c7, uid : failed to execute portforward in network namespace "
    '"/var/run/netns/cni-0757bf79": failed to connect to localhost:{port} inside namespace "316de6c7", IPv4: dial tcp4 '
    "127.0.0.1:{port}: connect: connection refused IPv6 dial tcp6: address localhost: no suitable address found "
)
"""What containerd 1.7 says of a port where nothing listens."""


def is_upgrade(request: Request) -> bool:
    """Whether a client wants to go on by WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def serve(
    handler: BaseHTTPRequestHandler,
    request: Request,
    backend: Callable[[Request], Reply] | None,
    wait: Callable[[float], object],
) -> None:
    """Upgrade the connection of a handler, and answer one HTTP request on it as the pod would.

    Args:
        handler: Handler of the connection.
        request: The upgrade.
        backend: What listens in the pod; None: nothing does. A reply of status 0 breaks the connection.
        wait: Waits so many seconds, or until the API server ends.
    """
    port = int(request.query["ports"])
    digest = hashlib.sha1((request.headers["Sec-Websocket-Key"] + _ACCEPT).encode()).digest()
    handler.send_response(101)
    for name, value in (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
        ("Sec-WebSocket-Protocol", PROTOCOL),
    ):
        handler.send_header(name, value)
    handler.end_headers()
    for channel in (0, 1):
        _send(handler, channel, struct.pack("<H", port))
    if backend is None:
        _send(handler, 1, REFUSED.format(port=port).encode())
        return
    inner = _read_request(handler)
    if inner is not None:
        pod = request.path.split("/")[-2]
        asked = Request(target=f"pods/{pod}:{port}", **inner)
        reply = backend(asked)
        wait(reply.delay_s)
        if not reply.status:
            return
        lines = [f"HTTP/1.1 {reply.status} X"]
        lines += [] if reply.stream else [f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        _send(handler, 0, "\r\n".join([*lines, "", ""]).encode())
        for chunk in reply.stream or ():
            _send(handler, 0, chunk)
        for start in range(0, len(reply.body), 32 << 10):
            _send(handler, 0, reply.body[start : start + (32 << 10)])


def _read_request(handler: BaseHTTPRequestHandler) -> dict[str, Any] | None:
    """The HTTP request that the data channel brings; None when the client goes away first."""
    content = b""
    while b"\r\n\r\n" not in content:
        frame = _receive(handler)
        if frame is None:
            return None
        if frame:
            assert frame[0] == 0, "clients write to the data channel only"
            content += frame[1:]
    head, _, body = content.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    method, path, _ = line.split(" ")
    parts = urlsplit(path)
    headers = {name.title(): value for name, _, value in (one.partition(": ") for one in lines)}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return {"method": method, "path": parts.path, "query": query, "headers": headers, "body": body}


def _send(handler: BaseHTTPRequestHandler, channel: int, data: bytes) -> None:
    payload = bytes([channel]) + data
    size = len(payload)
    head = bytes([0x80 | _BINARY]) + (bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size))
    handler.wfile.write(head + payload)


def _receive(handler: BaseHTTPRequestHandler) -> bytes | None:
    """The payload of a client's frame; None at the end."""
    stream = handler.rfile
    head = stream.read(2)
    if len(head) < 2 or head[0] & 0x0F == _CLOSE:
        return None
    size = head[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
    mask = stream.read(4)
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(stream.read(size)))

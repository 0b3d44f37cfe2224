"""What passes between publishers and a broker: which events were sent, and which of them the broker acknowledged.

A broker that is killed loses of its own what it acknowledged and hadn't saved. Only the wire tells that from what a
publisher lost.
"""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.fakes.http.tcp_proxy import TcpProxy

PUBLISH, PUBACK = 3, 4
"""Packet types. Source: MQTT 5.0, section 2.1.2."""
_ID = re.compile(rb'"id": "([^"]+)"')


class Tap(TcpProxy):
    """Listens on loopback, passes everything on to a broker, and reads along. Events are published as plain JSON.

    Args:
        port: Port of the broker.

    Attributes:
        port: Its own.
        sent: Ids of events whose message was sent whole.
        acknowledged: Ids of those that the broker took.
    """

    def __init__(self, port: int) -> None:
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        super().__init__(port)

    def serve(self, peer: socket.socket) -> None:
        waiting: dict[bytes, str] = {}

        def on_sent(kind: int, body: bytes) -> None:
            if kind == PUBLISH and (found := _ID.search(body)):
                topic_end = 2 + int.from_bytes(body[:2])
                waiting[body[topic_end : topic_end + 2]] = found[1].decode()
                self.sent.add(found[1].decode())

        def on_answer(kind: int, body: bytes) -> None:
            refused = len(body) > 2 and body[2] >= 0x80
            if kind == PUBACK and not refused and (event_id := waiting.pop(body[:2], None)):
                self.acknowledged.add(event_id)

        with peer, suppress(OSError), self.connect() as behind:
            answers = threading.Thread(target=_pass_on, args=(behind, peer, on_answer), daemon=True)
            answers.start()
            _pass_on(peer, behind, on_sent)
            answers.join()


def _pass_on(source: socket.socket, target: socket.socket, read: Callable[[int, bytes], None]) -> None:
    """Pass bytes on until one side ends; each packet is read before its last byte is passed on."""
    pending = bytearray()
    with suppress(OSError):
        while data := source.recv(65536):
            pending += data
            while packet := _split(pending):
                read(packet[0] >> 4, bytes(packet[1:]))
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _split(pending: bytearray) -> bytes:
    """Take one whole packet off the beginning: its first byte and its body, or nothing.

    Source: MQTT 5.0, section 1.5.5 (variable byte integer) and 2.1.1.
    """
    length = 0
    for at in range(1, min(5, len(pending))):
        length |= (pending[at] & 0x7F) << 7 * (at - 1)
        if pending[at] < 0x80:
            end = at + 1 + length
            if len(pending) < end:
                return b""
            packet = pending[:1] + pending[at + 1 : end]
            del pending[:end]
            return bytes(packet)
    return b""

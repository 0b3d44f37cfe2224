"""Holds open streams of a console, and reads them, with little CPU time: `python -m bench.console.clients PORT COUNT`.

It loads the first screen once, opens COUNT streams, and writes a line when all have answered. When its input ends, it
writes the number of messages of all streams, and ends.
"""

from __future__ import annotations

import http.client
import re
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.function.process import ROOT, environment

CONNECT = re.compile(rb'hx-sse:connect="([^"]+)"')
DEADLINE_S = 30.0


@contextmanager
def watching(port: int, count: int) -> Iterator[subprocess.Popen[str]]:
    """Hold open streams in a process of its own; it reads `count` streams until the block ends."""
    command = [sys.executable, "-m", "bench.console.clients", str(port), str(count)]
    process = subprocess.Popen(
        command, env=environment(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "open\n":
            sys.exit("error: the streams of the console can't be opened")
        yield process
        process.stdin.close()
        if int(process.stdout.readline() or 0) < count:
            sys.exit("error: the streams of the console sent no news")
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def main() -> None:
    """Hold the streams until the standard input ends."""
    port, count = map(int, sys.argv[1:])
    page = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    page.request("GET", "/")
    found = CONNECT.search(page.getresponse().read())
    page.close()
    if found is None:
        sys.exit("error: the first screen has no stream")
    path = found[1].decode().replace("&amp;", "&")
    opened = [_open(port, path) for _ in range(count)]
    print("open", flush=True)
    print(_read(opened), flush=True)


def _open(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    if not connection.recv(65_536).startswith(b"HTTP/1.1 200 "):
        sys.exit("error: the console refuses a stream")
    return connection


def _read(opened: list[socket.socket]) -> int:
    messages = 0
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for connection in opened:
            selector.register(connection, selectors.EVENT_READ, connection)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    return messages
                received = key.data.recv(65_536)
                if not received:
                    sys.exit("error: the console has ended a stream")
                messages += received.count(b"\nid: ") + received.startswith(b"id: ")


if __name__ == "__main__":
    main()

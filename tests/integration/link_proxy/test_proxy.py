"""The proxy of `bench/link` behaves as its model says: what is measured through it is measured over that link."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from bench.link.proxy import FaultProxy, Link
from tests.fakes.http.tcp_proxy import TcpProxy
from tests.ports import is_listening
from tests.waiting import wait_until

PROXY = Path(__file__).parents[3] / "bench/link/proxy.py"


class Echo(TcpProxy):
    """A server that sends back what it gets, and notes how its connections ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        super().__init__(port=0)

    def serve(self, peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(65536):
                    peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
                self.ends.append("closed")
            except OSError as error:
                self.ends.append(type(error).__name__)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def open_proxy(echo: Echo) -> Iterator[Callable[..., FaultProxy]]:
    opened: list[FaultProxy] = []

    def build(link: Link | None = None) -> FaultProxy:
        opened.append(FaultProxy("127.0.0.1", echo.port, link, seed=1))
        return opened[-1]

    yield build
    for proxy in opened:
        proxy.stop()


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=20)


def receive(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := client.recv(65536)):
        found += data
    return found


def round_trip_s(client: socket.socket, body: bytes) -> float:
    start = time.monotonic()
    sending = threading.Thread(target=client.sendall, args=(body,))
    sending.start()
    assert receive(client, len(body)) == body
    sending.join()
    return time.monotonic() - start


def test_delay_is_one_way_and_a_handshake_takes_a_round_trip(open_proxy: Callable[..., FaultProxy]):
    proxy = open_proxy(Link(delay_ms=60))
    with connect(proxy) as client:
        first_s = round_trip_s(client, b"x")  # SYN, SYN-ACK, there, back: 4 x 60 ms
        assert first_s >= 0.235
        assert wait_until(lambda: 0.115 <= round_trip_s(client, b"x") < 0.2, 30)


def test_a_cut_resets_both_ends_and_new_connections_until_it_is_over(open_proxy: Callable[..., FaultProxy], echo: Echo):
    proxy = open_proxy()
    with connect(proxy) as client:
        round_trip_s(client, b"x")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    wait_until(lambda: echo.ends == ["ConnectionResetError"])
    with pytest.raises((ConnectionResetError, BrokenPipeError)), connect(proxy) as client:
        client.recv(1)
    proxy.restore()
    with connect(proxy) as client:
        round_trip_s(client, b"x")


def test_a_silent_link_closes_nothing_and_continues_where_it_was(open_proxy: Callable[..., FaultProxy], echo: Echo):
    proxy = open_proxy()
    with connect(proxy) as old:
        round_trip_s(old, b"before")
        proxy.silence()
        old.sendall(b"during")
        with connect(proxy) as new:
            new.sendall(b"hello")
            for client in (old, new):
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(1)
                client.settimeout(20)
            assert echo.ends == []
            proxy.restore()
            assert receive(old, 6) == b"during"
            assert receive(new, 5) == b"hello"


def test_the_file_alone_runs_as_a_process_with_an_http_control(echo: Echo, tmp_path: Path):
    alone = tmp_path / "proxy.py"
    alone.write_bytes(PROXY.read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        control = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-I", str(alone), "--listen", "127.0.0.1:0", "--target", f"127.0.0.1:{echo.port}"]
    process = subprocess.Popen([*command, "--control", control, "--delay-ms", "1"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        port = int(process.stderr.readline().rpartition(":")[2])

        def ask(path: str, method: str = "POST") -> dict[str, object]:
            with urlopen(Request(f"http://{control}{path}", method=method), timeout=10) as answer:
                return dict(json.load(answer))

        wait_until(lambda: is_listening(int(control.rpartition(":")[2])))
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            round_trip_s(client, b"x")
            assert ask("/set?mbit_s=3&schedule=5:up,6:silent")["schedule"] == [[5, "up"], [6, "silent"]]
            assert ask("/cut")["state"] == "cut"
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        state = ask("/", "GET")
        assert (state["delay_ms"], state["mbit_s"], state["bytes_up"]) == (1, 3, 1)
        for path, method in (("/cut", "GET"), ("/set?loss=2", "POST"), ("/nowhere", "POST")):
            with pytest.raises(HTTPError) as refused:
                ask(path, method)
            refused.value.close()
            assert refused.value.code == 400
    finally:
        process.terminate()
        process.communicate(timeout=10)

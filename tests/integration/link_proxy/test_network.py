"""A link of real packets has the delay, bandwidth, loss, silence and cuts that its settings name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.link.network import PacketNetwork, open_network
from bench.link.packets import can_run
from bench.link.proxy import Link

pytestmark = pytest.mark.skipif(not can_run(), reason="needs root and /dev/net/tun")

SERVER = """
import socket, sys
listener = socket.create_server((sys.argv[1], 9000))
print("ready", flush=True)
while True:
    peer, _ = listener.accept()
    with peer:
        size = 0
        try:
            while data := peer.recv(65536):
                size += len(data)
            peer.sendall(str(size).encode())
        except OSError:
            pass
"""
CLIENT = """
import json, socket, sys, time
host, size, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
start, answer, connected, error = time.monotonic(), b"", 0.0, ""
try:
    with socket.create_connection((host, 9000), timeout=limit) as peer:
        connected = time.monotonic() - start
        peer.sendall(bytes(size))
        peer.shutdown(socket.SHUT_WR)
        answer = peer.recv(100)
except OSError as caught:
    error = type(caught).__name__ if caught.errno is None else caught.strerror
print(json.dumps([connected, time.monotonic() - start, answer.decode(), error]))
"""


@contextmanager
def served() -> Iterator[PacketNetwork]:
    network = open_network("lxtest", seed=1)
    assert isinstance(network, PacketNetwork)
    command = [*network.command("cloud"), sys.executable, "-c", SERVER, network.cloud_host]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield network
    finally:
        server.kill()
        server.communicate()
        network.close()


def send(network: PacketNetwork, size: int, limit_s: float = 30) -> tuple[float, float, str, str]:
    command = [*network.command("edge"), sys.executable, "-c", CLIENT, network.cloud_host, str(size), str(limit_s)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    connected, took, answer, error = json.loads(done.stdout)
    return connected, took, answer, error


def test_a_link_delays_and_counts_what_passes() -> None:
    with served() as network:
        network.set_link(Link(delay_ms=40))
        connected, took, answer, error = send(network, 1000)
        assert (answer, error) == ("1000", "")
        assert 0.08 <= connected < 10
        assert took >= 0.16
        traffic = network.traffic()
        assert 1000 < traffic.bytes_up < 3000
        assert 100 < traffic.bytes_down < 2000


def test_down_is_reported_at_once_and_silence_is_not() -> None:
    with served() as network:
        network.set_state("down")
        _, took, _, error = send(network, 10, limit_s=60)
        assert error == "No route to host"
        assert took < 30
        network.set_state("silent")
        _, took, _, error = send(network, 10, limit_s=0.5)
        assert error == "TimeoutError"
        network.set_state("up")
        assert send(network, 10)[2] == "10"

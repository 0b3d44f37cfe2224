"""Carries real packets over a simulated link between two network namespaces, for kernels without netem.

Each namespace gets a TUN device; this process reads the packets that one end sends and later writes them to the other.
So TCP at both ends is the kernel's own: handshakes, slow start, retransmissions and timeouts happen as over any link.

- Bandwidth: each direction sends one packet at a time. At most `QUEUE_S` seconds of packets wait; further ones are
  dropped, as by a router with a queue of that length.
- Loss: each packet is lost with the given probability, after it was sent.
- Bytes are those of sent IP packets, including lost ones and retransmissions.

The program reads commands as JSON lines from standard input, and answers each one with the link's counters. It needs
root rights.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import random
import select
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.link.proxy import Link

QUEUE_S = 0.2
PACKET_BYTES = 2048
CLONE_NEWNET = 0x40000000
"""Flag by which setns(2) enters a network namespace. Source: setns(2)."""
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
"""Request and flags of ioctl that create a TUN device: a network device whose packets a program reads and writes.
Source: linux/if_tun.h."""


@dataclass(slots=True)
class _Way:
    """State of one direction of the link: its two devices, the packets in transit, and its counters."""

    source: int
    target: int
    free_at: float = 0.0
    under_way: deque[tuple[float, bytes]] = field(default_factory=deque)
    count: int = 0
    packets: int = 0
    lost: int = 0
    dropped: int = 0


class PacketLink:
    """Carries packets between two TUN devices, with a delay, a bandwidth and losses.

    Args:
        edge: File descriptor of the edge's TUN device.
        cloud: File descriptor of the cloud's TUN device.
        seed: Seed of the random losses; None: different losses each time.
    """

    def __init__(self, edge: int, cloud: int, seed: int | None = None) -> None:
        self._ways = (_Way(edge, cloud), _Way(cloud, edge))
        self._link = Link()
        self._silent = False
        self._random = random.Random(seed)

    def run(self) -> None:
        """Carry packets and obey commands until standard input ends.

        Both devices must be up before the first command arrives on standard input.
        """
        commands = sys.stdin.fileno()
        select.select([commands], [], [])
        while True:
            due = min((way.under_way[0][0] for way in self._ways if way.under_way), default=None)
            wait_s = None if due is None else max(0.0, due - time.monotonic())
            readable, _, _ = select.select([commands, *(way.source for way in self._ways)], [], [], wait_s)
            for way in self._ways:
                if way.source in readable:
                    self._take(way)
                self._deliver(way)
            if commands in readable:
                line = sys.stdin.readline()
                if not line:
                    return
                sys.stdout.write(json.dumps(self._obey(json.loads(line))) + "\n")
                sys.stdout.flush()

    def _take(self, way: _Way) -> None:
        packet = os.read(way.source, PACKET_BYTES)
        now = time.monotonic()
        if self._silent:
            way.dropped += 1
            return
        rate = self._link.mbit_s * 1e6
        if way.free_at - now > QUEUE_S:
            way.dropped += 1
            return
        way.free_at = max(now, way.free_at) + (len(packet) * 8 / rate if rate else 0.0)
        way.count += len(packet)
        way.packets += 1
        if self._random.random() < self._link.loss:
            way.lost += 1
            return
        way.under_way.append((way.free_at + self._link.delay_ms / 1000, packet))

    def _deliver(self, way: _Way) -> None:
        now = time.monotonic()
        while way.under_way and way.under_way[0][0] <= now:
            _, packet = way.under_way.popleft()
            if self._silent:
                way.dropped += 1
                continue
            os.write(way.target, packet)

    def _obey(self, command: dict[str, Any]) -> dict[str, int]:
        if "link" in command:
            self._link = Link(**command["link"])
        if "silent" in command:
            self._silent = bool(command["silent"])
        up, down = self._ways
        return {
            "bytes_up": up.count,
            "bytes_down": down.count,
            "packets": up.packets + down.packets,
            "lost": up.lost + down.lost,
            "dropped": up.dropped + down.dropped,
        }


def open_device(namespace: str, name: str) -> int:
    """Create a TUN device in a network namespace.

    Args:
        namespace: Name of the namespace under /run/netns.
        name: Name of the device.

    Returns:
        Descriptor of the device, which disappears when it is closed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    own, other = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(libc, other)
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
        _enter(libc, own)
    finally:
        os.close(own)
        os.close(other)
    return device


def _enter(libc: ctypes.CDLL, descriptor: int) -> None:
    if libc.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


def can_run() -> bool:
    """Return whether this user is root and TUN devices exist, so that a link of real packets can be created."""
    return os.geteuid() == 0 and Path("/dev/net/tun").exists()


def main() -> None:
    """Create the devices in both namespaces, report `ready` on standard output, and carry packets."""
    parser = argparse.ArgumentParser(description="Carry packets between two network namespaces.")
    parser.add_argument("edge", help="namespace of the edge")
    parser.add_argument("cloud", help="namespace of the cloud")
    parser.add_argument("--device", default="uplink", help="name of the network device in both namespaces")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    edge, cloud = open_device(options.edge, options.device), open_device(options.cloud, options.device)
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    PacketLink(edge, cloud, options.seed).run()


if __name__ == "__main__":
    main()

"""Simulates the network of one setup: an edge, a cloud, and a link between them that counts its bytes.

With root rights, the network consists of two network namespaces and a link that carries real packets (`packets`).
Otherwise all processes use the loopback address, and the link is a TCP proxy (`proxy`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Literal

from bench.link.conditions import State
from bench.link.packets import can_run
from bench.link.proxy import FaultProxy, Link

Side = Literal["edge", "cloud"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Number of bytes that have passed the link so far.

    Attributes:
        bytes_up: Bytes from edge to cloud: of IP packets for the kind `packets`, of the TCP payload for `proxy`.
        bytes_down: Bytes from cloud to edge, counted in the same way.
    """

    bytes_up: int
    bytes_down: int


class PacketNetwork:
    """Network of two network namespaces and a process that carries packets between them; it needs root rights.

    Args:
        name: Short name that no other network on this machine has while this one is open.
        seed: Seed of the random packet losses.
    """

    kind = "packets"
    cloud_host = "10.77.0.2"
    edge_host = "10.77.0.1"

    def __init__(self, name: str, *, seed: int = 0) -> None:
        self._spaces: dict[Side, str] = {"edge": f"{name}-edge", "cloud": f"{name}-cloud"}
        self._carrier: subprocess.Popen[str] | None = None
        try:
            for space in self._spaces.values():
                _ip("netns", "add", space)
            command = [sys.executable, "-m", "bench.link.packets", *self._spaces.values(), "--seed", str(seed)]
            self._carrier = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._read()
            self._address("edge", self.edge_host)
            self._address("cloud", self.cloud_host)
            self._command({})
        except BaseException:
            self.close()
            raise

    def command(self, side: Side) -> list[str]:
        """Return the words that run a command in the network namespace of this side.

        The process that these words start becomes the command, so its process id is that of the command.
        """
        return ["ip", "netns", "exec", self._spaces[side]]

    def reach(self, port: int) -> int:
        """Return `port` unchanged, because the edge reaches the ports of the cloud directly."""
        return port

    def set_link(self, link: Link) -> None:
        """Set delay, bandwidth and loss of the link."""
        self._command({"link": {**asdict(link), "schedule": ()}})

    def set_state(self, state: State) -> None:
        """Set the link's state. Down: the edge has no route to the cloud. Silent: every packet is dropped."""
        self._command({"silent": state != "up"})
        space = self._spaces["edge"]
        _ip("-n", space, "route", "flush", "type", "unreachable")
        if state == "down":
            _ip("-n", space, "route", "add", "unreachable", self.cloud_host)

    def reset(self) -> None:
        """Reset the connections over the link at both ends; the kernel must support `ss --kill`."""
        for side in self._spaces:
            command = [*self.command(side), "ss", "--kill", "--no-header", "--tcp", "dst", "10.77.0.0/30"]
            subprocess.run(command, check=True, capture_output=True)

    def traffic(self) -> Traffic:
        """Return the bytes of all IP packets that were sent over the link so far."""
        found = self._command({})
        return Traffic(bytes_up=found["bytes_up"], bytes_down=found["bytes_down"])

    def counters(self) -> dict[str, int]:
        """Return the link's counters by name: bytes in each direction, packets, lost packets and dropped packets."""
        return self._command({})

    def close(self) -> None:
        """Stop the link and remove both namespaces; the processes in the namespaces must have ended before."""
        if self._carrier is not None:
            self._carrier.kill()
            self._carrier.communicate()
            self._carrier = None
        for space in self._spaces.values():
            subprocess.run(["ip", "netns", "del", space], check=False, stderr=subprocess.DEVNULL)

    def _address(self, side: Side, host: str) -> None:
        space = self._spaces[side]
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "addr", "add", f"{host}/30", "dev", "uplink", "noprefixroute")
        _ip("-n", space, "link", "set", "uplink", "up")
        # cubic is Linux's default congestion control; a machine may use another one.
        _ip("-n", space, "route", "add", "10.77.0.0/30", "dev", "uplink", "congctl", "cubic")

    def _command(self, command: dict[str, object]) -> dict[str, int]:
        assert self._carrier is not None
        assert self._carrier.stdin is not None
        self._carrier.stdin.write(json.dumps(command) + "\n")
        self._carrier.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, int]:
        assert self._carrier is not None
        assert self._carrier.stdout is not None
        line = self._carrier.stdout.readline()
        if not line:
            raise OSError(f"the process that carries the link's packets ended with {self._carrier.wait()}")
        return dict(json.loads(line))


class ProxyNetwork:
    """Network on the loopback address, with a TCP proxy in front of each port of the cloud; it needs no root rights."""

    kind = "proxy"
    cloud_host = "127.0.0.1"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._link = Link()
        self._proxies: dict[int, FaultProxy] = {}

    def command(self, side: Side) -> list[str]:
        """Return no words, because edge and cloud both run on this machine without namespaces."""
        return []

    def reach(self, port: int) -> int:
        """Return the port of the proxy for this port of the cloud.

        Each port has a proxy of its own, and each proxy has the whole bandwidth.
        """
        if port not in self._proxies:
            self._proxies[port] = FaultProxy("127.0.0.1", port, self._link, seed=self._seed)
        return self._proxies[port].port

    def set_link(self, link: Link) -> None:
        """Set delay, bandwidth and loss of every proxy."""
        self._link = link
        for proxy in self._proxies.values():
            proxy.set(link)

    def set_state(self, state: State) -> None:
        """Set the state of every proxy.

        Down: connections are reset. Silent: nothing passes, and connections stay open.
        """
        for proxy in self._proxies.values():
            {"up": proxy.restore, "down": proxy.cut, "silent": proxy.silence}[state]()

    def reset(self) -> None:
        """Reset all connections through the proxies; new connections are possible at once."""
        for proxy in self._proxies.values():
            proxy.cut()
            proxy.restore()

    def traffic(self) -> Traffic:
        """Return the bytes of the TCP payload that passed the proxies so far, without headers and retransmissions."""
        proxies = self._proxies.values()
        return Traffic(bytes_up=sum(one.bytes_up for one in proxies), bytes_down=sum(one.bytes_down for one in proxies))

    def close(self) -> None:
        """Stop all proxies."""
        for proxy in self._proxies.values():
            proxy.stop()


Network = PacketNetwork | ProxyNetwork


def open_network(name: str, *, seed: int = 0, kind: str = "") -> Network:
    """Create the network of one setup, and return it.

    Args:
        name: Name that no other network on this machine has.
        seed: Seed of the random losses.
        kind: Kind of the network, `packets` or `proxy`; empty: packets if this user may create them.
    """
    if kind == "packets" or (not kind and can_run()):
        return PacketNetwork(f"{name}-{os.getpid()}", seed=seed)
    return ProxyNetwork(seed=seed)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

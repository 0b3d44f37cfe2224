"""The network of one arm: an edge, a cloud, and a link between them that can be changed and counts its bytes.

With root rights it is two network namespaces and a link of real packets (`packets`); otherwise everything is on
loopback, and the link is the proxy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Literal

from bench.link.conditions import State
from bench.link.packets import can_run
from bench.link.proxy import FaultProxy, Link

Side = Literal["edge", "cloud"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes that have passed the link so far.

    Attributes:
        bytes_up: Bytes from edge to cloud; of packets when those are counted, else of TCP's payload.
        bytes_down: Bytes from cloud to edge.
    """

    bytes_up: int
    bytes_down: int


class Network(ABC):
    """An edge, a cloud, and the link between them.

    Attributes:
        kind: Kind of the network, `packets` or `proxy`.
        cloud_host: Address of the cloud, for which its certificate is valid.
    """

    kind: str
    cloud_host: str

    @abstractmethod
    def command(self, side: Side) -> list[str]:
        """Return the prefix of a command line that runs on this side."""

    @abstractmethod
    def reach(self, port: int) -> int:
        """Return the port at `cloud_host` at which the edge reaches a port of the cloud."""

    @abstractmethod
    def set_link(self, link: Link) -> None:
        """Change delay, bandwidth and loss."""

    @abstractmethod
    def set_state(self, state: State) -> None:
        """Set the link's state to up, down or silent."""

    @abstractmethod
    def reset(self) -> None:
        """Reset the connections that cross the link, as a router that loses its table does; new ones are possible."""

    @abstractmethod
    def traffic(self) -> Traffic:
        """Return the number of bytes that have passed the link so far."""

    @abstractmethod
    def close(self) -> None:
        """Remove the network."""


class PacketNetwork(Network):
    """Two network namespaces and a process that carries packets between them.

    Args:
        name: Short name, unique on this machine while the network is open.
        seed: Seed of the losses.
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
        """Return the command that enters the namespace; the process id stays that of the inner command."""
        return ["ip", "netns", "exec", self._spaces[side]]

    def reach(self, port: int) -> int:
        """Return the same port."""
        return port

    def set_link(self, link: Link) -> None:
        """Change delay, bandwidth and loss."""
        self._command({"link": {**asdict(link), "schedule": ()}})

    def set_state(self, state: State) -> None:
        """Set the state. Down: the edge has no route to the cloud. Silent: every packet is dropped."""
        self._command({"silent": state != "up"})
        space = self._spaces["edge"]
        _ip("-n", space, "route", "flush", "type", "unreachable")
        if state == "down":
            _ip("-n", space, "route", "add", "unreachable", self.cloud_host)

    def reset(self) -> None:
        """Reset the connections at both ends; needs a kernel that supports `ss --kill`."""
        for side in self._spaces:
            command = [*self.command(side), "ss", "--kill", "--no-header", "--tcp", "dst", "10.77.0.0/30"]
            subprocess.run(command, check=True, capture_output=True)

    def traffic(self) -> Traffic:
        """Return the bytes of IP packets."""
        found = self._command({})
        return Traffic(bytes_up=found["bytes_up"], bytes_down=found["bytes_down"])

    def counters(self) -> dict[str, int]:
        """Return the counters of packets and bytes, with losses and drops."""
        return self._command({})

    def close(self) -> None:
        """Stop the link and remove the namespaces; processes in them must have ended."""
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


class ProxyNetwork(Network):
    """A network on loopback, with the proxy before each port of the cloud."""

    kind = "proxy"
    cloud_host = "127.0.0.1"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._link = Link()
        self._proxies: dict[int, FaultProxy] = {}

    def command(self, side: Side) -> list[str]:
        """Return an empty prefix: both sides are this machine."""
        return []

    def reach(self, port: int) -> int:
        """Return the proxy's port; each port of the cloud has its own proxy, with the whole bandwidth."""
        if port not in self._proxies:
            self._proxies[port] = FaultProxy("127.0.0.1", port, self._link, seed=self._seed)
        return self._proxies[port].port

    def set_link(self, link: Link) -> None:
        """Change delay, bandwidth and loss."""
        self._link = link
        for proxy in self._proxies.values():
            proxy.set(link)

    def set_state(self, state: State) -> None:
        """Set the state. Down: connections are reset. Silent: nothing passes."""
        for proxy in self._proxies.values():
            {"up": proxy.restore, "down": proxy.cut, "silent": proxy.silence}[state]()

    def reset(self) -> None:
        """Reset all connections, then restore the link."""
        for proxy in self._proxies.values():
            proxy.cut()
            proxy.restore()

    def traffic(self) -> Traffic:
        """Return the bytes of TCP's payload, without headers and retransmissions."""
        proxies = self._proxies.values()
        return Traffic(bytes_up=sum(one.bytes_up for one in proxies), bytes_down=sum(one.bytes_down for one in proxies))

    def close(self) -> None:
        """Stop the proxies."""
        for proxy in self._proxies.values():
            proxy.stop()


def open_network(name: str, *, seed: int = 0, kind: str = "") -> Network:
    """Open the network of an arm.

    Args:
        name: Name that is unique on this machine.
        seed: Seed of the losses.
        kind: Kind of the network, `packets` or `proxy`; empty: packets if this user may.
    """
    if kind == "packets" or (not kind and can_run()):
        return PacketNetwork(f"{name}-{os.getpid()}", seed=seed)
    return ProxyNetwork(seed=seed)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

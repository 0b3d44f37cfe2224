"""Simulates a bad link with a TCP proxy: slow, narrow, lossy, cut or silent.

It needs only Python's standard library and this file, so that it can be mounted into a container alone:

    python proxy.py --listen 0.0.0.0:8443 --target receiver:8443 --control 0.0.0.0:9000 --delay-ms 50 --mbit-s 20
    curl -X POST http://HOST:9000/cut                          # also /silence, /restore
    curl -X POST 'http://HOST:9000/set?mbit_s=1&loss=0.05'     # other fields are unchanged
    curl http://HOST:9000/                                     # state and bytes, as JSON

In a test: `with FaultProxy("127.0.0.1", port, Link(delay_ms=50)) as proxy: ... proxy.cut()`.

The model of the link: the proxy ends the client's TCP connection and opens its own to the target, so it handles bytes,
not packets:

- Delay: each byte arrives `delay_ms` (one way) after it left; a round trip takes twice that. A new connection's first
  bytes wait one more round trip, for TCP's handshake.
- Bandwidth: each direction has `mbit_s`, shared by all connections in order of arrival, in chunks of 8 segments.
- Loss: each segment of 1,448 bytes is lost with probability `loss`. When at least three segments follow it, a fast
  retransmission delivers it after one round trip; else a retransmission timeout of max(200 ms, 2 round trips) does. The
  timeout also applies to a retransmission that is lost again, doubled each time. Later bytes wait, because TCP delivers
  in order.
- Not simulated: slow start, and the smaller congestion window after a loss. Large transfers over a lossy link are
  faster here than over a real one.
- `cut`: connections are reset, bytes in transit are lost, and new connections are reset when they are accepted.
- `silent`: nothing passes and nothing is closed. A new connection is accepted by this machine's kernel and then hangs
  (over a real link connecting itself hangs). When the link is restored, connections continue.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import cycle
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

State = Literal["up", "cut", "silent"]
T = TypeVar("T")

SEGMENT_BYTES = 1448
"""Data in one packet, bytes: an Ethernet frame's 1,500 bytes minus the headers of IPv4 and TCP with timestamps."""
CHUNK_BYTES = 8 * SEGMENT_BYTES
MIN_TIMEOUT_S = 0.2
"""Linux's minimum retransmission timeout, seconds. Source: the kernel's TCP_RTO_MIN, include/net/tcp.h."""
DUPLICATES = 3
"""Number of segments that must follow a lost segment for a fast retransmission. Source: RFC 5681, section 3.2."""
AHEAD_S = 0.02
"""A connection may read its next chunk this many seconds before its last chunk has left the sender. Without this
margin, a timer that fires late would reduce the bandwidth."""
IN_FLIGHT_BYTES = 4_000_000
"""Maximum bytes in transit in one direction of one connection; while that many are in transit, the proxy reads no more
from the sender."""
CONNECT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Properties of a simulated link.

    Attributes:
        delay_ms: Delay in one direction; the round trip is twice that.
        mbit_s: Bandwidth of each direction, Mbit/s (1,000,000 bits); 0 is unlimited.
        loss: Probability that a segment is lost, 0 to below 1.
        schedule: Pairs of seconds and state that the link goes through again and again; empty: always up. `((10, "up"),
            (20, "cut"))` is up for 10 s and cut for 20 s.
    """

    delay_ms: float = 0.0
    mbit_s: float = 0.0
    loss: float = 0.0
    schedule: tuple[tuple[float, State], ...] = ()

    def __post_init__(self) -> None:
        if self.delay_ms < 0 or self.mbit_s < 0 or not 0 <= self.loss < 1:
            raise ValueError(f"delay and bandwidth must be >= 0, and loss >= 0 and < 1 (got {self})")
        if self.schedule and not any(seconds > 0 for seconds, _ in self.schedule):
            raise ValueError(f"a schedule must take more than 0 s (got {self.schedule})")

    @property
    def round_trip_s(self) -> float:
        """Seconds of a round trip over the link: twice the delay in one direction."""
        return 2 * self.delay_ms / 1000


@dataclass(slots=True)
class _Direction:
    """State of one direction of the link, which all connections share: the time when it is free again, and counters."""

    free_at: float = 0.0
    count: int = 0
    lost: int = 0


@dataclass(slots=True, eq=False)
class _Connection:
    """The two TCP connections that the proxy relays: from the client to the proxy, and from the proxy to the target."""

    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        for writer in self.writers:
            if (sock := writer.get_extra_info("socket")) is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if self.task is not None:
            self.task.cancel()


class _Engine:
    """The proxy's state and connections, used only in the thread of the event loop."""

    def __init__(self, target: tuple[str, int], link: Link, seed: int | None) -> None:
        self.link = link
        self.state: State = "up"
        self.accepted = 0
        self.up, self.down = _Direction(), _Direction()
        self._target = target
        self._random = random.Random(seed)
        self._gate = asyncio.Event()
        self._gate.set()
        self._connections: set[_Connection] = set()
        self._scheduled: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        self._server = await asyncio.start_server(self._serve, host, port, limit=CHUNK_BYTES)
        self.set_link(self.link)
        return int(self._server.sockets[0].getsockname()[1])

    def set_link(self, link: Link) -> None:
        self.link = link
        self._stop_schedule()
        if link.schedule:
            self._scheduled = asyncio.get_running_loop().create_task(self._follow(link.schedule))

    def set_state(self, state: State) -> None:
        """Set the link's state and stop the schedule, so that the state stays."""
        self._stop_schedule()
        self._enter(state)

    async def stop(self) -> None:
        self._stop_schedule()
        if self._server is not None:
            self._server.close()
        tasks = [one.task for one in self._connections if one.task is not None]
        self._reset_all()
        await asyncio.gather(*tasks, return_exceptions=True)

    def describe(self) -> dict[str, Any]:
        return {
            **asdict(self.link),
            "state": self.state,
            "connections": len(self._connections),
            "accepted": self.accepted,
            "bytes_up": self.up.count,
            "bytes_down": self.down.count,
            "lost_segments": self.up.lost + self.down.lost,
        }

    async def _follow(self, schedule: Sequence[tuple[float, State]]) -> None:
        due = asyncio.get_running_loop().time()
        for seconds, state in cycle(schedule):
            self._enter(state)
            due += seconds
            await _sleep_until(due)

    def _stop_schedule(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None

    def _enter(self, state: State) -> None:
        self.state = state
        if state == "up":
            self._gate.set()
        else:
            self._gate.clear()
        if state == "cut":
            self._reset_all()

    def _reset_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(writers=[writer], task=asyncio.current_task())
        if self.state == "cut":
            connection.task = None
            connection.reset()
            return
        self._connections.add(connection)
        try:
            await self._connect(connection, reader, writer)
        except (OSError, TimeoutError, ExceptionGroup, asyncio.CancelledError):
            connection.task = None
            connection.reset()
        finally:
            self._connections.discard(connection)

    async def _connect(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first_at = asyncio.get_running_loop().time() + 3 * self.link.delay_ms / 1000
        await self._gate.wait()
        async with asyncio.timeout(CONNECT_S):
            back, forth = await asyncio.open_connection(*self._target, limit=CHUNK_BYTES)
        connection.writers.append(forth)
        async with asyncio.TaskGroup() as group:
            group.create_task(_Carrier(self, self.up, first_at).carry(reader, forth))
            group.create_task(_Carrier(self, self.down, 0.0).carry(back, writer))
        for one in connection.writers:
            one.close()

    async def wait_up(self) -> None:
        """Wait until the link's state is `up`."""
        await self._gate.wait()

    def transmit(self, direction: _Direction, size: int, followed: bool) -> tuple[float, float]:
        """Compute when a chunk of bytes leaves the sender and arrives, and count its bytes and losses.

        Args:
            direction: Direction of the chunk.
            size: Size of the chunk, bytes.
            followed: Whether the connection has more bytes to send after this chunk.

        Returns:
            left_at: Time of the event loop when the last byte of the chunk has left the sender.
            arrives_at: Time of the event loop when the whole chunk has arrived at the other end.
        """
        now = asyncio.get_running_loop().time()
        segments = -(-size // SEGMENT_BYTES)
        losses, extra_s = self._lose(segments, followed)
        direction.count += size
        direction.lost += losses
        seconds = (size + losses * SEGMENT_BYTES) * 8 / (self.link.mbit_s * 1e6) if self.link.mbit_s else 0.0
        direction.free_at = max(now, direction.free_at) + seconds
        return direction.free_at, direction.free_at + self.link.delay_ms / 1000 + extra_s

    def _lose(self, segments: int, followed: bool) -> tuple[int, float]:
        losses, worst_s = 0, 0.0
        for number in range(segments if self.link.loss else 0):
            extra_s, timeout_s = 0.0, max(MIN_TIMEOUT_S, 2 * self.link.round_trip_s)
            fast = followed or segments - number > DUPLICATES
            while self._random.random() < self.link.loss:
                losses += 1
                extra_s += self.link.round_trip_s if fast else timeout_s
                timeout_s *= 1 if fast else 2
                fast = False
            worst_s = max(worst_s, extra_s)
        return losses, worst_s


class _Carrier:
    """Carries the bytes of one direction of one connection over the simulated link."""

    def __init__(self, engine: _Engine, direction: _Direction, first_at: float) -> None:
        self._engine = engine
        self._direction = direction
        self._last_at = first_at
        self._under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT_BYTES // CHUNK_BYTES)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes from `reader` to `writer` until the sender has closed and all bytes have arrived."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(reader))
            group.create_task(self._arrive(writer))

    async def _send(self, reader: asyncio.StreamReader) -> None:
        while True:
            await self._engine.wait_up()
            chunk = await reader.read(CHUNK_BYTES)
            await self._engine.wait_up()
            left_at, arrives_at = self._engine.transmit(self._direction, len(chunk), len(chunk) == CHUNK_BYTES)
            self._last_at = max(self._last_at, arrives_at)
            await self._under_way.put((self._last_at, chunk))
            if not chunk:
                return
            await _sleep_until(left_at - AHEAD_S)

    async def _arrive(self, writer: asyncio.StreamWriter) -> None:
        while True:
            arrives_at, chunk = await self._under_way.get()
            await _sleep_until(arrives_at)
            await self._engine.wait_up()
            if not chunk:
                with suppress(OSError):
                    writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


async def _sleep_until(due: float) -> None:
    seconds = due - asyncio.get_running_loop().time()
    if seconds > 0:
        await asyncio.sleep(seconds)


class FaultProxy:
    """TCP proxy that simulates a bad link; it runs in its own thread until it is stopped.

    Args:
        target_host: Address of the target server.
        target_port: Port of the target server.
        link: Initial properties of the link.
        host: Address that the proxy listens on.
        port: Port that the proxy listens on; 0: a free port.
        seed: Seed of the random losses; None: different losses each time.

    Attributes:
        port: The port that the proxy listens on.

    Raises:
        OSError: When the proxy can't listen on the address and port.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        link: Link | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._stopped = False
        try:
            self._engine = self._run(_build((target_host, target_port), link or Link(), seed))
            self.port = self._run(self._engine.listen(host, port))
        except OSError:
            self._end()
            raise

    @property
    def bytes_up(self) -> int:
        """Number of bytes from clients to the target so far, without retransmissions."""
        return self._engine.up.count

    @property
    def bytes_down(self) -> int:
        """Number of bytes from the target to clients so far, without retransmissions."""
        return self._engine.down.count

    def set(self, link: Link) -> None:
        """Set the properties of the link; a schedule starts from its first entry."""
        self._run(_call(lambda: self._engine.set_link(link)))

    def cut(self) -> None:
        """Reset all connections, and each new one, until `restore` is called."""
        self._run(_call(lambda: self._engine.set_state("cut")))

    def silence(self) -> None:
        """Let no bytes pass, but keep connections open, until `restore` is called."""
        self._run(_call(lambda: self._engine.set_state("silent")))

    def restore(self) -> None:
        """Set the link's state to up, so that bytes pass again; a schedule is not resumed."""
        self._run(_call(lambda: self._engine.set_state("up")))

    def describe(self) -> dict[str, Any]:
        """Return the link's properties and state, the number of connections, and the bytes in each direction."""
        return self._run(_call(self._engine.describe))

    def control(self, path: str) -> dict[str, Any]:
        """Run a request to the control port, and return the state of the proxy.

        Args:
            path: Path of the request: `/cut`, `/silence`, `/restore`, `/set?FIELD=VALUE...` or `/`.

        Raises:
            ValueError: When there is no such path, field or value.
        """
        parts = urlsplit(path)
        match parts.path:
            case "/cut":
                self.cut()
            case "/silence":
                self.silence()
            case "/restore":
                self.restore()
            case "/set":
                self.set(parse_link(dict(parse_qsl(parts.query)), self._engine.link))
            case "/":
                pass
            case _:
                raise ValueError(f"no such path: {parts.path} (paths: /, /cut, /silence, /restore, /set)")
        return self.describe()

    def stop(self) -> None:
        """Reset all connections, stop listening, and end the proxy's thread."""
        if not self._stopped:
            self._run(self._engine.stop())
            self._end()

    def _end(self) -> None:
        self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def _build(target: tuple[str, int], link: Link, seed: int | None) -> _Engine:
    return _Engine(target, link, seed)


async def _call(action: Any) -> Any:
    return action()


def parse_link(values: Mapping[str, str], link: Link) -> Link:
    """Return a copy of `link` with some fields replaced.

    Args:
        values: Name of each field to replace, and its value as text; a schedule is written `10:up,20:cut`, or empty for
            none.
        link: Link whose other fields are kept.

    Raises:
        ValueError: When a field is unknown or its value is invalid.
    """
    changed: dict[str, Any] = {}
    for name, text in values.items():
        if name == "schedule":
            changed[name] = _parse_schedule(text)
        elif name in {one.name for one in fields(Link)}:
            changed[name] = float(text)
        else:
            raise ValueError(f"no such field: {name} (fields: {', '.join(one.name for one in fields(Link))})")
    return replace(link, **changed)


def _parse_schedule(text: str) -> tuple[tuple[float, str], ...]:
    parts = [part.partition(":") for part in text.split(",") if part]
    for _, _, state in parts:
        if state not in {"up", "cut", "silent"}:
            raise ValueError(f"a state must be up, cut or silent (got {state!r})")
    return tuple((float(seconds), state) for seconds, _, state in parts)


def _answer_control(proxy: FaultProxy, address: tuple[str, int]) -> None:
    """Serve the proxy's control port at `address` until the process ends."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(proxy.control if urlsplit(self.path).path == "/" else _refuse_get)

        def do_POST(self) -> None:
            self._answer(proxy.control)

        def _answer(self, action: Any) -> None:
            try:
                status, value = 200, action(self.path)
            except ValueError as error:
                status, value = 400, {"error": str(error)}
            body = json.dumps(value).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
            pass

    ThreadingHTTPServer(address, Handler).serve_forever()


def _refuse_get(path: str) -> dict[str, Any]:
    raise ValueError(f"{path} changes the link: use POST")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def main() -> None:
    """Run the proxy and its control port until the process is ended."""
    parser = argparse.ArgumentParser(description="Forward TCP connections over a link with simulated faults.")
    parser.add_argument(
        "--listen", type=_address, required=True, metavar="HOST:PORT", help=("address that the proxy listens on")
    )
    parser.add_argument(
        "--target", type=_address, required=True, metavar="HOST:PORT", help=("address of the server behind the link")
    )
    parser.add_argument("--control", type=_address, metavar="HOST:PORT", help="address of the HTTP control interface")
    parser.add_argument("--delay-ms", default="0", help="delay in each direction, ms")
    parser.add_argument("--mbit-s", default="0", help="bandwidth in each direction, Mbit/s; 0 is unlimited")
    parser.add_argument("--loss", default="0", help="probability that a segment of 1,448 bytes is lost")
    parser.add_argument("--schedule", default="", help="alternating seconds and states, for example 10:up,20:cut")
    parser.add_argument("--seed", type=int, help="seed of the random losses")
    options = parser.parse_args()
    link = parse_link({name: getattr(options, name) for name in ("delay_ms", "mbit_s", "loss", "schedule")}, Link())
    (host, port), (target, target_port) = options.listen, options.target
    with FaultProxy(target, target_port, link, host=host, port=port, seed=options.seed) as proxy:
        sys.stderr.write(f"listening on {host}:{proxy.port}\n")
        if options.control:
            _answer_control(proxy, options.control)
        else:
            threading.Event().wait()


if __name__ == "__main__":
    main()

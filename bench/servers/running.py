"""Runs several servers at the same time, so that a benchmark can measure them in turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.function.process import Message, cpu_ms, first_answer, started
from bench.measure.load import Load, LoadError, build_request, send_all
from bench.measure.process import tree
from bench.report.section import UnavailableError
from bench.servers.catalogue import Server
from tests.ports import find_port


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Running:
    """A server that answers requests.

    Attributes:
        server: The server.
        pid: Process id of its first process.
        port: Its port on the loopback address.
        request: HTTP request with the image, as bytes.
    """

    server: Server
    pid: int
    port: int
    request: bytes

    def send(self, *, connections: int, count: int) -> Load:
        """Send the image `count` times over `connections` connections, and return the measurements."""
        return send_all(self.port, [self.request], connections=connections, count=count)

    def cpu_ms(self) -> float:
        """Return the CPU time that all processes of the server have used so far, ms."""
        return sum(map(cpu_ms, tree(self.pid)))


@contextmanager
def run_servers(servers: Sequence[Server], image: bytes) -> Iterator[tuple[list[Running], dict[str, str]]]:
    """Start the servers one after the other, and end them after the `with` block.

    Yield the servers that have predicted the image, and the names of those that have not, with the reason.
    """
    running, failed = [], {}
    with ExitStack() as stack:
        for server in servers:
            print(f"starting {server.name}", file=sys.stderr, flush=True)
            port, message = find_port(), server.encode(image)
            try:
                process = stack.enter_context(_serving(server, port, message))
            except (TimeoutError, ChildProcessError, OSError) as error:
                failed[server.name] = f"it does not start: {error}"
                continue
            request = build_request(message.body, path=message.path, content_type=message.content_type)
            running.append(Running(server=server, pid=process.pid, port=port, request=request))
        yield running, failed


@contextmanager
def _serving(server: Server, port: int, message: Message) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, yield it when it has answered the message, and end it after the `with` block."""
    with started(*server.start_words(port)) as process:
        first_answer(process, port, message)
        yield process


def require_ours(failed: Mapping[str, str]) -> None:
    """Check that no function of Eaves is among the servers that failed.

    Args:
        failed: Names of the servers that failed, with the reason.

    Raises:
        UnavailableError: When one is; without it there is nothing to compare.
    """
    for name, reason in failed.items():
        if name.startswith("Eaves"):
            raise UnavailableError(f"{name}: {reason}")


def drop_failing(running: Sequence[Running], *, connections: int, count: int) -> tuple[list[Running], dict[str, str]]:
    """Send some requests to every server so that it is warm, and return those that answer, and the others' reasons."""
    kept, failed = [], {}
    for one in running:
        try:
            one.send(connections=connections, count=count)
            kept.append(one)
        except (LoadError, OSError) as error:
            failed[one.server.name] = str(error)[:200]
    return kept, failed

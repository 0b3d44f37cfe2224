"""Runs several servers at the same time, so that a benchmark can measure them in turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from bench.measure import Load, build_request, send_all
from bench.processes import cpu_ms, started, wait_for_answer
from bench.report import UnavailableError
from bench.servers.catalogue import Server
from tests.ports import find_port


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Running:
    """A server that answers requests: its first process, its port on loopback, and the request with the image."""

    server: Server
    pid: int
    port: int
    request: bytes

    def send(self, count: int, *, connections: int = 1) -> Load:
        """Send the image `count` times over `connections` connections, and return the measurements."""
        before = cpu_ms(self.pid)
        load = send_all(self.port, [self.request] * count, connections=connections)
        return replace(load, cpu_ms=(cpu_ms(self.pid) - before) / count)


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
            own = ExitStack()
            try:
                with own:
                    process = own.enter_context(started(*server.start_words(port)))
                    wait_for_answer(process.poll, port, message)
                    stack.enter_context(own.pop_all())
            except OSError as error:
                failed[server.name] = f"it does not start: {error}"
                continue
            request = build_request(message.body, path=message.path, content_type=message.content_type)
            running.append(Running(server=server, pid=process.pid, port=port, request=request))
        yield running, failed


def require_ours(failed: Mapping[str, str]) -> None:
    """Check that no function of Eaves is among the servers that failed, by name with the reason.

    Raises:
        UnavailableError: When one is; without it there is nothing to compare.
    """
    for name, reason in failed.items():
        if name.startswith("Eaves"):
            raise UnavailableError(f"{name}: {reason}")

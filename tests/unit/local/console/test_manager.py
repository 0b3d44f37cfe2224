import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eaves.base.backoff import Backoff
from eaves.local.console_manager import ConsoleManager
from eaves.local.processes.process import ProcessHost
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from tests.fakes.processes import FakeChild
from tests.waiting import wait_until

QUICK = {"restart": Backoff(retry=None, first_s=0.3, cap_s=60.0)}


class Launches:
    """Starts children that end when a test says so.

    Attributes:
        code: What a child ends with at once; None: it runs.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.children: list[FakeChild] = []
        self.arguments: list[Sequence[str]] = []
        self.threads: list[threading.Thread] = []
        self.tried_at: list[float] = []

    def __call__(
        self,
        module: str,
        environ: Mapping[str, str],
        log: Path,
        *,
        inherit: Mapping[str, str],
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> FakeChild:
        self.tried_at.append(time.monotonic())
        assert module == "eaves.local.console"
        self.arguments.append(arguments)
        assert pass_fds == [int(arguments[0])]
        self.threads.append(threading.current_thread())
        self.children.append(FakeChild(len(self.children) + 1, self.code))
        return self.children[-1]


@pytest.fixture
def launches() -> Launches:
    return Launches()


Start = Callable[..., ConsoleManager]


@pytest.fixture
def start(launches: Launches, tmp_path: Path) -> Iterator[Start]:
    made: list[ConsoleManager] = []

    def begin(times: dict[str, Any] = QUICK, **settings: object) -> ConsoleManager:
        values = LocalSettings(**{"console_port": 0, **settings})  # type: ignore[arg-type]
        host = ProcessHost(state=StateDirectory(root=tmp_path), inherit={}, launch=launches)
        made.append(ConsoleManager(values, host, **times))
        made[-1].start()
        return made[-1]

    yield begin
    for manager in made:
        manager.stop()


@contextmanager
def looking(manager: ConsoleManager) -> Iterator[socket.socket]:
    """A connection that waits until the process takes it."""
    host, _, port = manager.url.removeprefix("http://").rstrip("/").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        yield connection


def test_a_process_that_ends_at_once_is_not_started_in_a_loop_by_a_connection_that_waits(
    launches: Launches, start: Start
):
    launches.code = 0
    with looking(start()):
        wait_until(lambda: len(launches.tried_at) == 3, 10, what="three starts")
    first, second, third = launches.tried_at
    assert second - first >= 0.3
    assert third - second >= 0.6


def test_a_process_that_takes_no_connection_is_ended(launches: Launches, start: Start):
    with looking(start({**QUICK, "hung_s": 0.2})):
        wait_until(lambda: len(launches.children) == 2, 10, what="the next process")
        assert launches.children[0].code is not None


def test_a_port_in_use_off_loopback_leaves_the_platform_running(start: Start, tmp_path: Path):
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        manager = start(console_host="0.0.0.0", console_credentials=tmp_path, console_port=port)
        assert manager.url == ""
        assert f"port {port} can't be used: Address already in use" in manager.reason

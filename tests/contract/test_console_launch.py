"""Starts of the console by its command and by a fork of the zygote: the two processes are the same from outside."""

from __future__ import annotations

import http.client
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eaves.local.console.manager import MODULE
from eaves.local.console.process_settings import ProcessSettings
from eaves.local.processes.process import Child, Launch, Process
from eaves.local.processes.zygote.forked_process import ForkedProcess
from eaves.local.processes.zygote.launcher import Launcher
from eaves.local.state import StateDirectory
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the zygote")

STATUS = (
    *("Name", "Umask", "PPid", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed"),
    *("SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
)


class Starter:
    """Starts consoles of one state directory, each of which inherits the same listening socket."""

    def __init__(self, folder: Path) -> None:
        state = StateDirectory(root=folder / "state")
        state.prepare()
        self.log = folder / "log"
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.settings = ProcessSettings(
            listener=self.listening.fileno(),
            state=state.root,
            project=folder,
            thumbnails_max_bytes=1_000_000,
            idle_s=600.0,
        )
        self.children: list[Child] = []

    def start(self, launch: Launch, *arguments: str, **environ: str) -> Child:
        given = arguments or (self.settings.to_argument(),)
        passed = [self.listening.fileno()]
        child = launch(MODULE, environ, self.log, inherit=os.environ, arguments=given, pass_fds=passed)
        self.children.append(child)
        return child

    def ask(self) -> int:
        """The status of the first screen; the connection waits until a console accepts it."""
        host, port = self.listening.getsockname()
        connection = http.client.HTTPConnection(host, port, timeout=30)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            assert b"<h1" in response.read()
            return response.status
        finally:
            connection.close()


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    made = Starter(tmp_path)
    yield made
    for child in made.children:
        child.stop(timeout_s=0)
    made.listening.close()


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    made = Launcher(inherit=os.environ)
    made.prepare(deployed=True)
    yield made
    made.close()


@pytest.fixture(params=["command", "fork"])
def launch(request: pytest.FixtureRequest) -> Launch:
    return Process if request.param == "command" else request.getfixturevalue("launcher")


def look(pid: int) -> dict[str, object]:
    """What can be seen of a process from outside."""
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rpartition(") ")[2].split()
    return {
        "command": (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")[:4],
        "program": (folder / "exe").readlink(),
        "cwd": (folder / "cwd").readlink(),
        "files": list_files(pid),
        "limits": (folder / "limits").read_text(),
        "oom": (folder / "oom_score_adj").read_text(),
        "cgroup": (folder / "cgroup").read_text(),
        "status": [line for line in (folder / "status").read_text().splitlines() if line.split(":")[0] in STATUS],
        "session": [int(fields[2]) == pid, int(fields[3]) == pid],
        "nice": os.getpriority(os.PRIO_PROCESS, pid),
        "threads": len(list((folder / "task").iterdir())),
    }


def list_files(pid: int) -> list[str]:
    """Targets of the open files, but for connections, which end soon; the listening socket has its own line."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(re.sub(r"(?<!socket:)\[\d+\]", "[N]", str(link.readlink())))
        except FileNotFoundError:
            continue
    return sorted(found)


def test_a_forked_console_looks_like_a_started_one(starter: Starter, launcher: Launcher) -> None:
    def see(launch: Launch) -> dict[str, object]:
        child = starter.start(launch)
        assert starter.ask() == 200
        own = f"socket:[{os.fstat(starter.listening.fileno()).st_ino}]"
        assert os.readlink(f"/proc/{child.pid}/fd/{starter.listening.fileno()}") == own  # noqa: PTH115

        def is_idle() -> bool:
            sockets = [name for name in list_files(child.pid) if name.startswith("socket:") and name != own]
            return len(sockets) <= 2  # the pair with which the streams' thread is woken

        wait_until(is_idle, 20, what="the end of the connection and its thread")
        found = look(child.pid)
        files = found["files"]
        assert isinstance(files, list)
        named = ["listening" if name == own else re.sub(r"socket:\[\d+\]", "socket", name) for name in files]
        found["files"] = sorted(named)  # the sockets' numbers, which decide their order in `files`, differ
        child.stop()
        assert child.exit_code == 0
        return found

    started, forked = see(Process), see(launcher)
    assert isinstance(starter.children[-1], ForkedProcess)
    for name, expected in started.items():
        assert forked[name] == expected, name
    assert forked["oom"] == "500\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_the_exit_code_of_a_signal_is_seen(starter: Starter, launch: Launch, number: int, code: int) -> None:
    child = starter.start(launch)
    assert starter.ask() == 200
    os.kill(child.pid, number)
    wait_until(lambda: not child.running, 30, what="the end")
    assert child.exit_code == code


def test_a_console_that_fails_ends_with_its_exit_code_and_logs_why(starter: Starter, launch: Launch) -> None:
    child = starter.start(launch, "{}")
    wait_until(lambda: not child.running, 30, what="the end")
    assert child.exit_code == 65
    assert "Eaves was upgraded while `eaves up` ran" in starter.log.read_text()


def test_the_zygote_keeps_no_listening_socket(starter: Starter, launcher: Launcher) -> None:
    starter.start(launcher).stop()
    before = list_files(launcher.pid)
    starter.start(launcher)
    assert starter.ask() == 200
    assert list_files(launcher.pid) == before
    own = f"socket:[{os.fstat(starter.listening.fileno()).st_ino}]"
    assert own not in before


def test_no_zygote_is_started_for_the_console_alone(starter: Starter) -> None:
    launcher = Launcher(inherit=os.environ)
    try:
        assert isinstance(starter.start(launcher), Process)
        assert launcher.pid == 0
        assert starter.ask() == 200
    finally:
        launcher.close()


def test_a_console_outlives_the_zygote_and_the_next_one_gets_a_new_zygote(starter: Starter, launcher: Launcher) -> None:
    child = starter.start(launcher)
    assert starter.ask() == 200
    os.kill(launcher.pid, signal.SIGKILL)
    wait_until(lambda: launcher.pid == 0, what="the zygote's end")
    assert starter.ask() == 200
    child.stop()
    assert isinstance(starter.start(launcher), ForkedProcess)
    assert starter.ask() == 200


def test_a_console_that_cant_be_forked_is_started_by_its_command(
    starter: Starter, launcher: Launcher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert isinstance(starter.start(launcher, PYTHONUTF8="1"), Process)
        assert starter.ask() == 200
    assert [record.getMessage() for record in caplog.records] == [
        "the console starts without the zygote, which takes longer: PYTHONUTF8 is read only while a program starts"
    ]

"""Starts of a function by its command and by a fork of the zygote: the two processes are the same for the function."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from eaves.artifact.store import HANDLER
from eaves.local.processes.ports import HOST
from eaves.local.processes.process import Child, Launch, Process
from eaves.local.processes.zygote.forked_process import ForkedProcess
from eaves.local.processes.zygote.launcher import Launcher
from tests.fakes.models.graph import write_graph_artifact
from tests.ports import find_port
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the zygote")

SNAPSHOT = """
import ctypes, gc, json, locale, logging, os, random, re, resource, signal, sys, threading, time, warnings

import numpy as np

content_types = ("application/x-look",)
STATUS = ("Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed")


def preprocess(data):
    with open(os.environ["SNAPSHOT"], "w") as stream:
        json.dump(look(), stream)
    return np.zeros((8, 8, 3), np.uint8)


def look():
    signal_of_parent = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(signal_of_parent))
    main = sys.modules["__main__"]
    status = open("/proc/self/status").read().splitlines()
    return {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "main": [main.__file__, main.__name__, main.__package__, main.__spec__.name],
        "command": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
        "comm": open("/proc/self/comm").read(),
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "files": files(),
        "limits": open("/proc/self/limits").read(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "oom": open("/proc/self/oom_score_adj").read(),
        "cgroup": open("/proc/self/cgroup").read(),
        "status": [line for line in status if line.startswith((*STATUS, "Sig", "Shd", "Cap")) and "SigQ" not in line],
        "handlers": {number: str(getattr(signal.getsignal(number), "__name__", signal.getsignal(number)))
                     for number in range(1, 65) if number not in (32, 33)},
        "parent": os.getppid(),
        "parent_death_signal": signal_of_parent.value,
        "session": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "threads": sorted(re.sub("[0-9]+", "N", thread.name) for thread in threading.enumerate()),
        "unnamed_threads": len(os.listdir("/proc/self/task")) - threading.active_count(),
        "flags": str(sys.flags),
        "path": sys.path,
        "prefix": [sys.prefix, sys.executable, str(sys.warnoptions), str(sys._xoptions)],
        "streams": [describe(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "gc": [gc.isenabled(), gc.get_threshold()],
        "log": [logging.root.level, [type(one).__name__ for one in logging.root.handlers]],
        "warnings": sorted(map(str, warnings.filters)),
        "locale": [locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), time.tzname],
        "random": [random.random(), np.random.random()],
    }


def files():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = re.sub("[0-9]{3,}", "N", os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return {name: target for name, target in found.items() if target != os.environ["SNAPSHOT"]}


def describe(stream):
    return [stream.fileno(), stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.mode]
"""
OWN = ("random", "files")


class Starter:
    """Starts functions of one artifact, and ends them after the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = lambda at: (at / HANDLER).write_text(SNAPSHOT)  # noqa: E731
        self.artifact = write_graph_artifact(folder / "a", change=source).path
        self.children: list[Child] = []

    def start(self, launch: Launch, **environ: str) -> tuple[Child, int]:
        port = find_port()
        own = {"EAVES_ARTIFACT": str(self.artifact), "EAVES_HOST": HOST, "EAVES_CONCURRENCY": "1", "PORT": str(port)}
        given = {
            "EAVES_SELF_TEST": "none",
            "EAVES_THREADS": "1",
            "SNAPSHOT": str(self.folder / "snapshot"),
            **own,
            **environ,
        }
        child = launch("functions", given, self.folder / "log", inherit=os.environ)
        self.children.append(child)
        return child, port

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def look(self, launch: Launch, **environ: str) -> dict[str, Any]:
        """What a new function sees of its process."""
        child, port = self.start(launch, **environ)
        wait_until(lambda: answers(port) and self.starts_no_more(), 30, what="the function")
        found = self.snapshot()
        child.stop()
        return found

    def snapshot(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "snapshot").read_text())
        return found

    def starts_no_more(self) -> bool:
        """Whether the thread that a function has only while it starts has ended."""
        found = self.snapshot()
        return "model" not in found["threads"]


def answers(port: int) -> bool:
    """Whether the function at a port answers a request for a prediction."""
    connection = HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("POST", "/", b"look", {"Content-Type": "application/x-look"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def module_starter(tmp_path_factory: pytest.TempPathFactory) -> Starter:
    return Starter(tmp_path_factory.mktemp("launch"))


@pytest.fixture
def starter(module_starter: Starter) -> Iterator[Starter]:
    yield module_starter
    for child in module_starter.children:
        child.stop(timeout_s=0)
    module_starter.children.clear()
    (module_starter.folder / "log").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    made = Launcher(inherit=os.environ)
    yield made
    made.close()


@pytest.fixture(params=["command", "fork"])
def launch(request: pytest.FixtureRequest) -> Launch:
    return Process if request.param == "command" else request.getfixturevalue("launcher")


def test_a_forked_function_sees_the_same_process_as_a_started_one(starter: Starter, launcher: Launcher) -> None:
    started = starter.look(Process, GREETING="hello", TZ="Asia/Tokyo")
    forked = starter.look(launcher, GREETING="hello", TZ="Asia/Tokyo")
    for name in started.keys() - set(OWN):
        expected = started[name]
        if name == "environ":
            expected = {**expected, "PORT": forked[name]["PORT"]}
        assert forked[name] == expected, name
    assert sorted(forked["files"].values()) == sorted(started["files"].values())
    assert forked["parent"] == os.getpid()
    assert forked["threads"]
    again = starter.look(launcher, GREETING="hello", TZ="Asia/Tokyo")
    assert not set(again["random"]) & set(forked["random"])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9), (signal.SIGSEGV, -11)]
)
def test_the_exit_code_of_a_signal_is_seen(starter: Starter, launch: Launch, number: int, code: int) -> None:
    child, port = starter.start(launch)
    wait_until(lambda: answers(port), 30, what="the function")
    os.kill(child.pid, number)
    wait_until(lambda: not child.running, 30, what="the end")
    assert child.exit_code == code
    child.terminate()  # it ended, so its number may be another process's by now
    assert not Path(f"/proc/{child.pid}").exists()


@pytest.mark.parametrize(
    ("environ", "code", "text"),
    [
        ({"EAVES_TOP_K": "none"}, 78, "must be"),
        ({"EAVES_HOST": "192.0.2.1"}, 69, "can't listen on 192.0.2.1"),
    ],
    ids=["invalid settings", "no such address"],
)
def test_a_function_that_fails_ends_with_its_exit_code_and_logs_why(
    starter: Starter, launch: Launch, environ: dict[str, str], code: int, text: str
) -> None:
    child, _ = starter.start(launch, **environ)
    wait_until(lambda: not child.running, 30, what="the end")
    assert text in starter.log()
    assert child.exit_code == code


@pytest.mark.parametrize(
    "environ", [{"EAVES_HOST": "x\0y"}, {"A=B": "C"}, {"A": "\ud800"}], ids=["null byte", "equals sign", "surrogate"]
)
def test_an_impossible_variable_is_refused(starter: Starter, launch: Launch, environ: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"null byte|illegal environment|surrogates"):
        starter.start(launch, **environ)


def test_a_function_that_is_stopped_too_slowly_is_killed(starter: Starter, launch: Launch) -> None:
    child, port = starter.start(launch)
    wait_until(lambda: answers(port), 30, what="the function")
    os.kill(child.pid, signal.SIGSTOP)
    child.stop(timeout_s=0.05)
    assert child.exit_code == -9


def test_the_launcher_forks(starter: Starter, launcher: Launcher, caplog: pytest.LogCaptureFixture) -> None:
    child, _ = starter.start(launcher)
    assert isinstance(child, ForkedProcess), caplog.text
    assert launcher.pid


def test_a_changed_limit_reaches_the_next_function(starter: Starter, launcher: Launcher) -> None:
    starter.start(launcher)
    before = launcher.pid
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        child, _ = starter.start(launcher)
        assert isinstance(child, ForkedProcess)
        assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (soft - 1, hard)
        assert launcher.pid != before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_variable_that_is_read_while_python_starts_needs_a_start_by_the_command(
    starter: Starter, launcher: Launcher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            child, _ = starter.start(launcher, PYTHONHASHSEED="7")
            assert isinstance(child, Process)
    assert [record.getMessage() for record in caplog.records] == [
        "functions start without the zygote, which takes longer: PYTHONHASHSEED is read only while a program starts"
    ]


def test_a_function_outlives_the_zygote_which_is_replaced(starter: Starter, launcher: Launcher) -> None:
    child, port = starter.start(launcher)
    wait_until(lambda: answers(port), 30, what="the function")
    zygote = launcher.pid
    os.kill(zygote, signal.SIGKILL)
    wait_until(lambda: launcher.pid == 0, what="the zygote's end")
    assert answers(port)
    assert child.running
    other, _ = starter.start(launcher)
    assert isinstance(other, ForkedProcess)
    child.stop()
    assert child.exit_code == 0


def test_a_zygote_that_hangs_is_replaced(starter: Starter, launcher: Launcher) -> None:
    starter.start(launcher)
    before = launcher.pid
    os.kill(before, signal.SIGSTOP)
    child, _ = starter.start(launcher)
    assert isinstance(child, ForkedProcess)
    assert launcher.pid != before


def test_a_zygote_that_starts_slowly_is_kept_for_later_functions(starter: Starter) -> None:
    launcher = Launcher(inherit=os.environ, start_s=0)
    invalid = {"EAVES_TOP_K": "none"}  # such a function ends at once
    try:
        assert isinstance(starter.start(launcher, **invalid)[0], Process)
        zygote = launcher.pid
        assert zygote
        fork = lambda: isinstance(starter.start(launcher, **invalid)[0], ForkedProcess)  # noqa: E731
        wait_until(fork, 30, pause_s=0.2, what="a fork")
        assert launcher.pid == zygote
    finally:
        launcher.close()


def test_many_forks_leave_nothing_behind(starter: Starter, launcher: Launcher) -> None:
    def use() -> tuple[int, int, int]:
        status = Path(f"/proc/{launcher.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
        children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text()
        return resident, len(list(Path(f"/proc/{launcher.pid}/fd").iterdir())), len(children)

    def fork(times: int) -> None:
        for _ in range(times):
            child, _ = starter.start(launcher)
            assert isinstance(child, ForkedProcess)
            child.stop(timeout_s=0)
            starter.children.clear()

    fork(10)
    before, own = use(), len(list(Path("/proc/self/fd").iterdir()))
    fork(40)
    after = use()
    assert after[1:] == before[1:]
    assert after[0] - before[0] < 2_000, "kB"  # buffers of the allocator; 400 forks need no more than 100
    assert len(list(Path("/proc/self/fd").iterdir())) == own


PARENT = """
import os, sys, time
from pathlib import Path
from eaves.local.processes.zygote.launcher import Launcher

launcher = Launcher(inherit=os.environ)
child = launcher("functions", {"EAVES_ARTIFACT": sys.argv[1], "EAVES_HOST": "127.0.0.1", "PORT": sys.argv[2]},
                 Path(sys.argv[3]), inherit=os.environ)
print(child.pid, launcher.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_parent_leaves_neither_function_nor_zygote(starter: Starter) -> None:
    port = find_port()
    command = [sys.executable, "-P", "-c", PARENT, str(starter.artifact), str(port), str(starter.folder / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        wait_until(lambda: "listening on" in starter.log(), 30, what="the function")
        parent.kill()
    wait_until(lambda: not any(is_running(pid) for pid in pids), 30, what="the end of both")


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()  # in a container nobody may reap it
    except FileNotFoundError:
        return False

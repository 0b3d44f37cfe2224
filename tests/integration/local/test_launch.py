"""A function's process as the local platform starts it: its place, its end and its exit code."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from eaves.local.processes.process import HOST, Process
from tests.fakes.models.artifact import COLOURS, encode_png
from tests.fakes.models.graph import write_graph_artifact
from tests.ports import find_port
from tests.proc import is_running
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


class Starter:
    """Starts functions of one artifact, and ends them after the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifact = write_graph_artifact(folder / "a").path
        self.children: list[Process] = []

    def start(self) -> tuple[Process, int]:
        port = find_port()
        own = {"EAVES_ARTIFACT": str(self.artifact), "EAVES_HOST": HOST, "EAVES_CONCURRENCY": "1", "PORT": str(port)}
        given = {"EAVES_SELF_TEST": "none", "EAVES_THREADS": "1", **own}
        child = Process("functions", given, self.folder / "log", inherit=os.environ)
        self.children.append(child)
        return child, port

    def log(self) -> str:
        return (self.folder / "log").read_text()


def answers(port: int) -> bool:
    """Whether the function at a port answers a request for a prediction."""
    connection = HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("POST", "/", encode_png(COLOURS["red"]), {"Content-Type": "image/png"})
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


def test_a_function_has_a_session_of_its_own_reads_nothing_and_writes_its_log(starter: Starter):
    child, port = starter.start()
    wait_until(lambda: answers(port), 30, what="the function")
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
    files = [os.readlink(f"/proc/{child.pid}/fd/{number}") for number in range(3)]  # noqa: PTH115 - a socket isn't a path
    assert files == ["/dev/null", *[str(starter.folder / "log")] * 2]
    command = Path(f"/proc/{child.pid}/cmdline").read_text().rstrip("\0").split("\0")
    assert command == [sys.executable, "-P", "-m", "functions"]
    assert "OPENBLAS_NUM_THREADS" not in Path(f"/proc/{child.pid}/environ").read_text()


def test_the_exit_code_of_a_signal_is_seen(starter: Starter):
    child, port = starter.start()
    wait_until(lambda: answers(port), 30, what="the function")
    os.kill(child.pid, signal.SIGTERM)
    wait_until(lambda: not child.running, 30, what="the end")
    assert child.exit_code == 0
    child.terminate()  # it ended, so its number may be another process's by now
    assert not Path(f"/proc/{child.pid}").exists()


def test_a_function_that_is_stopped_too_slowly_is_killed(starter: Starter):
    child, port = starter.start()
    wait_until(lambda: answers(port), 30, what="the function")
    os.kill(child.pid, signal.SIGSTOP)
    child.stop(timeout_s=0.05)
    assert child.exit_code == -9


PARENT = """
import os, sys, time
from pathlib import Path
from eaves.local.processes.process import Process

child = Process("functions", {"EAVES_ARTIFACT": sys.argv[1], "EAVES_HOST": "127.0.0.1", "PORT": sys.argv[2]},
                Path(sys.argv[3]), inherit=os.environ)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_parent_leaves_no_function(starter: Starter):
    port = find_port()
    command = [sys.executable, "-P", "-c", PARENT, str(starter.artifact), str(port), str(starter.folder / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: "listening on" in starter.log(), 30, what="the function")
        parent.kill()
    wait_until(lambda: not is_running(pid), 30, what="the end of the function")

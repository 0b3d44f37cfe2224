"""Starts processes of Eaves as a platform does, from this checkout or another one, and measures time and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from eaves.base.telemetry import TELEMETRY_OFF

ROOT = Path(__file__).parents[1]
RETRY_S = 0.0005
"""Seconds between two attempts to connect to a starting server: short enough to measure the first answer exactly, and
long enough to leave the CPU to the server."""
DEADLINE_S = 120.0
SETTLE_S = 1.0
"""Seconds from the first answer to the reading of a server's memory: some modules are imported after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A POST request to a server: its path, content type and body."""

    path: str = "/"
    content_type: str = "image/jpeg"
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Measurements of one start, from exec to the end of the first answer.

    Attributes:
        wall_ms: Elapsed time, ms.
        cpu_ms: CPU time of all processes, ms.
        rss_mb: Memory (RSS) some time later, MB.
        pss_mb: Memory then (PSS: each shared page is divided by the number of processes that share it), MB.
        read_mb: Data read from the disk, MB; 0 when the page cache has all.
    """

    wall_ms: float
    cpu_ms: float
    rss_mb: float
    pss_mb: float
    read_mb: float = 0.0


def python(root: Path = ROOT) -> str:
    """Return the Python of a checkout: that of this process, or that of another checkout's virtual environment."""
    return sys.executable if root == ROOT else str(root / ".venv/bin/python")


def environment(root: Path = ROOT, /, **more: str) -> dict[str, str]:
    """Return the environment of a process as a platform sets it, with a checkout's modules and the variables `more`.

    Only PATH, HOME and TMPDIR are inherited from this process.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**TELEMETRY_OFF, **kept, "PYTHONPATH": str(root), **more}


def function_command(root: Path = ROOT) -> list[str]:
    """Return the command of a function."""
    return [python(root), "-P", "-m", "functions"]


def function_environment(artifact: Path, port: int | str, root: Path = ROOT) -> dict[str, str]:
    """Return the environment of a function that serves an artifact on loopback."""
    return environment(root, EAVES_ARTIFACT=str(artifact), EAVES_HOST="127.0.0.1", PORT=str(port))


@contextmanager
def started(
    command: Sequence[str], environ: Mapping[str, str], folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server in a folder (None: `/`), yield it, and end it with all its processes after the `with` block."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=dict(environ), cwd=folder or "/", stdout=log, stderr=log)
        try:
            yield process
        except (TimeoutError, ChildProcessError) as error:
            log.seek(0)
            end = log.read().decode(errors="replace")[-500:].strip()
            raise type(error)(f"{error}; its log ends with: {end}") from error
        finally:
            pids = list(tree(process.pid))
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
            for pid in pids[1:]:  # a server's workers may outlive their parent
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def wait_for_answer(poll: Callable[[], int | None], port: int, message: Message) -> bytes:
    """Send the request to a starting server again and again until it answers 200, and return that answer's body.

    Args:
        poll: Returns the exit code of the server's process, None while it runs.
        port: Port of the server.
        message: The request.

    Raises:
        TimeoutError: When the server doesn't answer 200 within `DEADLINE_S` seconds.
        ChildProcessError: When the server's process ends.
    """
    deadline = time.perf_counter() + DEADLINE_S
    while (code := poll()) is None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)) as connection, suppress(ConnectionError):
            connection.request("POST", message.path, message.body, {"Content-Type": message.content_type})
            response = connection.getresponse()
            body = response.read()
            if response.status == 200:
                return body
        if time.perf_counter() > deadline:
            raise TimeoutError(f"no answer on port {port} within {DEADLINE_S:g} s")
        time.sleep(RETRY_S)
    raise ChildProcessError(f"the process ended with {code}")


def measure_start(
    command: Sequence[str], environ: Mapping[str, str], port: int, message: Message, settle_s: float = SETTLE_S
) -> Start:
    """Start a server, send it one request, and end it; return the measurements of all its processes."""
    start = time.perf_counter()
    with started(command, environ) as process:
        wait_for_answer(process.poll, port, message)
        wall_ms = (time.perf_counter() - start) * 1000
        spent_ms, read_mb = cpu_ms(process.pid), sum(map(read_bytes, tree(process.pid))) / 1e6
        time.sleep(settle_s)
        rss_mb, pss_mb = memory_mb(process.pid, "Rss"), memory_mb(process.pid)
    return Start(wall_ms=wall_ms, cpu_ms=spent_ms, rss_mb=rss_mb, pss_mb=pss_mb, read_mb=read_mb)


def tree(pid: int) -> Iterator[int]:
    """Yield the id of a process, and the ids of all its descendants; none when it has ended."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    children: list[int] = []
    for task in tasks:
        with suppress(OSError):  # a thread that has ended meanwhile
            children += map(int, (task / "children").read_text().split())
    yield pid
    for child in children:
        yield from tree(child)


def memory_mb(pid: int, field: str = "Pss", *, descendants: bool = True) -> float:
    """Return a field of /proc/PID/smaps_rollup of a process and its descendants, MB. Source: proc_pid_smaps(5)."""
    total = 0
    for one in tree(pid) if descendants else (pid,):
        with suppress(OSError):
            words = Path(f"/proc/{one}/smaps_rollup").read_text().split()
            total += int(words[words.index(f"{field}:") + 1]) if f"{field}:" in words else 0
    return total * 1024 / 1e6


def read_bytes(pid: int) -> int:
    """Return the number of bytes that a process has read from disks so far. Source: proc_pid_io(5)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(":") for line in lines)["read_bytes"])


def cpu_ms(pid: int, *, descendants: bool = True) -> float:
    """Return the CPU time of a process and its descendants so far, ms, with ended threads, to a nanosecond.

    Source: clock_getcpuclockid(3); the number of the clock is computed as Linux does it (MAKE_PROCESS_CPUCLOCK,
    CPUCLOCK_SCHED).
    """
    return sum(time.clock_gettime(~one << 3 | 2) for one in (tree(pid) if descendants else (pid,))) * 1000


def wait_until(condition: Callable[[], object], *, pause_s: float = 0.02, timeout_s: float = DEADLINE_S) -> None:
    """Wait until `condition` returns a true value.

    Raises:
        TimeoutError: When it doesn't within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no result within {timeout_s:g} s")
        time.sleep(pause_s)

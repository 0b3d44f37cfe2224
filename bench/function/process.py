"""Starts a server process as a platform does, and measures the start from exec to the first successful response."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from bench.measure.process import memory_bytes, tree
from eaves.base.telemetry import TELEMETRY_OFF

ROOT = Path(__file__).parents[2]
RETRY_S = 0.0005
"""Seconds between two attempts to connect to a starting server. The time is short enough to measure the first response
exactly, and long enough to leave the CPU to the server."""
DEADLINE_S = 120.0
SETTLE_S = 1.0
"""Seconds from the first response to the reading of a server's memory: some modules are imported after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Measurements of one start of a server, or of the minimal script bench/function/bare.py.

    Attributes:
        wall_ms: Time from exec to the end of the first response, ms.
        cpu_ms: CPU time of all processes of the server or script until the end of the first response, ms.
        resident_mb: Memory after the first response (RSS), MB; a server's is read `SETTLE_S` later.
        proportional_mb: Memory then (PSS: each shared page is divided by the number of processes that share it), MB.
        read_mb: Data read from the disk until the end of the first response, MB; 0 when the page cache has all.
    """

    wall_ms: float
    cpu_ms: float
    resident_mb: float
    proportional_mb: float
    read_mb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A POST request to a server: its path, content type and body."""

    path: str = "/"
    content_type: str = "image/jpeg"
    body: bytes


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process as a platform sets it, with the variables `more`.

    Only PATH, HOME and TMPDIR are inherited from this process; PYTHONPATH names the project's modules.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**TELEMETRY_OFF, **kept, "PYTHONPATH": str(ROOT), **more}


FUNCTION = (sys.executable, "-P", "-m", "functions")


def function_environment(artifact: Path, port: int | str, **more: str) -> dict[str, str]:
    """Return the environment of a function that serves the artifact on the loopback address at `port`."""
    return environment(EAVES_ARTIFACT=str(artifact), EAVES_HOST="127.0.0.1", PORT=str(port), **more)


@contextmanager
def started(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server as a separate process, yield it, and end it after the `with` block."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=dict(environ), cwd="/", stdout=log, stderr=log)
        try:
            yield process
        except (TimeoutError, ChildProcessError) as error:
            log.seek(0)
            raise type(error)(
                f"{error}; its log ends with: {log.read().decode(errors='replace')[-300:].strip()}"
            ) from error
        finally:
            pids = list(tree(process.pid))
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
            for pid in pids[1:]:  # a server's workers may outlive their parent
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def first_answer(process: subprocess.Popen[bytes], port: int, message: Message) -> bytes:
    """Send the request to a starting server until it answers 200; see `wait_for_answer`."""
    return wait_for_answer(process.poll, port, message)


def wait_for_answer(poll: Callable[[], int | None], port: int, message: Message) -> bytes:
    """Send the request to a starting server again and again until it answers 200, and return that response's body.

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
        connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        with suppress(ConnectionError):
            connection.request("POST", message.path, message.body, {"Content-Type": message.content_type})
            response = connection.getresponse()
            body = response.read()
            if response.status == 200:
                return body
        connection.close()
        if time.perf_counter() > deadline:
            raise TimeoutError(f"no answer on port {port} within {DEADLINE_S:g} s")
        time.sleep(RETRY_S)
    raise ChildProcessError(f"the process ended with {code}")


def measure_start(command: Sequence[str], environ: Mapping[str, str], port: int, message: Message) -> Start:
    """Start a server, send it one request, and end it; return the measurements of all its processes."""
    start = time.perf_counter()
    with started(command, environ) as process:
        first_answer(process, port, message)
        wall_ms = (time.perf_counter() - start) * 1000
        spent_ms = sum(map(cpu_ms, tree(process.pid)))
        read_mb = sum(map(read_bytes, tree(process.pid))) / 1e6
        time.sleep(SETTLE_S)
        return Start(
            wall_ms=wall_ms,
            cpu_ms=spent_ms,
            resident_mb=sum(memory_bytes(pid, "Rss") for pid in tree(process.pid)) / 1e6,
            proportional_mb=sum(memory_bytes(pid, "Pss") for pid in tree(process.pid)) / 1e6,
            read_mb=read_mb,
        )


def measure_bare(model: Path, image: Path) -> Start:
    """Run the minimal script bench/function/bare.py, and measure it until it has printed its prediction."""
    command = [sys.executable, "-P", str(ROOT / "bench/function/bare.py"), str(model), str(image)]
    return measure_script(command, environment())


def measure_script(command: Sequence[str], environ: Mapping[str, str]) -> Start:
    """Run a command that starts bench/function/bare.py, and measure it until it has printed its prediction."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=dict(environ), cwd="/", stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        wall_ms = (time.perf_counter() - start) * 1000
        spent_ms, resident_mb, proportional_mb, read_mb = json.loads(process.stdout.readline())
    if process.returncode:
        sys.exit(f"error: {' '.join(command)} failed")
    return Start(
        wall_ms=wall_ms, cpu_ms=spent_ms, resident_mb=resident_mb, proportional_mb=proportional_mb, read_mb=read_mb
    )


def read_bytes(pid: int) -> int:
    """Return the number of bytes that a process has read from disks so far. Source: proc_pid_io(5)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(":") for line in lines)["read_bytes"])


def cpu_ms(pid: int) -> float:
    """Return the CPU time of a process so far, ms, including its ended threads, with a resolution of a nanosecond.

    Source: clock_getcpuclockid(3); the number of the clock is computed as Linux does it (MAKE_PROCESS_CPUCLOCK,
    CPUCLOCK_SCHED).
    """
    return time.clock_gettime(~pid << 3 | 2) * 1000

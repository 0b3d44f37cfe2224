"""Measures the elapsed time of a command, and the memory of all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Elapsed time and memory of one command.

    Attributes:
        seconds: Time from the start of the command to its end, seconds.
        largest_mb: Maximum resident memory (RSS) of any single process of the command, MB.
        together_mb: Maximum memory of all processes of the command at one time (PSS, so shared pages count once), MB.
            It is sampled every `POLL_S` seconds. The memory limit of a container must be at least this.
    """

    seconds: float
    largest_mb: float
    together_mb: float


def run_measured(command: Sequence[str]) -> Cost:
    """Run a command to its end, and return its elapsed time and memory; if it fails, exit with its output.

    The kernel keeps the maximum resident size of a process and of all children that it waited for, so no process is
    missed. That size includes memory that a child shared with this process before exec, so this process must stay
    small.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seen: list[float] = [0.0]
    done, output = threading.Event(), bytearray()
    threads = [
        threading.Thread(target=_watch, args=(process.pid, seen, done)),
        threading.Thread(target=_drain, args=(process, output)),
    ]
    for thread in threads:
        thread.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    done.set()
    for thread in threads:
        thread.join()
    if process.returncode:
        sys.exit(
            f"error: {' '.join(command)} failed with {process.returncode}:\n{output[-2000:].decode(errors='replace')}"
        )
    return Cost(seconds=seconds, largest_mb=usage.ru_maxrss * 1024 / 1e6, together_mb=max(seen) / 1e6)


def private_bytes() -> int:
    """Return the bytes of memory that only this process uses and shares with no other process."""
    return sum(memory_bytes("self", name) for name in ("Private_Clean", "Private_Dirty"))


def memory_bytes(pid: int | str, name: str) -> int:
    """Return the value of one field, such as `Pss`, of /proc/PID/smaps_rollup in bytes; 0 when the process has ended.

    Source: proc_pid_smaps(5).
    """
    words = _words(Path(f"/proc/{pid}/smaps_rollup"))
    return int(words[words.index(f"{name}:") + 1]) * 1024 if f"{name}:" in words else 0


def _drain(process: subprocess.Popen[bytes], output: bytearray) -> None:
    assert process.stderr is not None
    with process.stderr as stream:
        for line in stream:
            output += line


def _watch(pid: int, seen: list[float], done: threading.Event) -> None:
    while not done.wait(POLL_S):
        seen.append(sum(memory_bytes(one, "Pss") for one in tree(pid)))


def tree(pid: int) -> Iterator[int]:
    """Yield the process id `pid`, and the ids of all its descendants."""
    yield pid
    try:
        children = [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in _words(task / "children")]
    except OSError:  # it ended in between
        return
    for child in children:
        yield from tree(child)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []

"""Processor time and memory of a process and its children, as the kernel counts them.

Source: proc_pid_stat(5), proc_tid_children(5).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STARTTIME, _RSS = 14, 22, 24
"""Numbers of fields in /proc/PID/stat: the first of four processor times and the start after the boot, in clock ticks,
and the resident pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUsage:
    """Processor time and memory of a process, with those of the processes that it has started.

    Attributes:
        cpu_s: Processor time since the process started, seconds.
        memory_bytes: Resident memory now, bytes; memory that processes share counts for each.
    """

    cpu_s: float = 0.0
    memory_bytes: int = 0

    def __add__(self, other: ProcessUsage) -> ProcessUsage:
        return ProcessUsage(cpu_s=self.cpu_s + other.cpu_s, memory_bytes=self.memory_bytes + other.memory_bytes)


def read_usage(pid: int | str = "self") -> ProcessUsage:
    """Read the usage of a process; zero when it has ended."""
    process, usage = Path("/proc", str(pid)), ProcessUsage()
    with suppress(OSError):
        fields = _read_fields(process)
        ticks = sum(map(int, fields[_UTIME : _UTIME + 4]))  # its own, and those of children that have ended
        usage = ProcessUsage(cpu_s=ticks * _TICK_S, memory_bytes=int(fields[_RSS]) * _PAGE_BYTES)
        for children in process.glob("task/*/children"):
            with suppress(OSError):  # the thread has ended
                for child in children.read_text().split():
                    usage += read_usage(child)
    return usage


def read_start() -> float:
    """Return when this process started, in Unix seconds, to a hundredth of a second."""
    after_boot_s = int(_read_fields(Path("/proc/self"))[_STARTTIME]) * _TICK_S
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + after_boot_s


def _read_fields(process: Path) -> list[str]:
    """Read the fields of a process's stat by their numbers; those up to the third are empty."""
    # The second field is the command's name in brackets, which may hold brackets too.
    return ["", "", "", *(process / "stat").read_text().rpartition(") ")[2].split()]

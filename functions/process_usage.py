"""The kernel's figures for this process, for metrics, and the return of freed memory to the system.

Source: proc_pid_stat(5), proc_pid_statm(5), proc_stat(5).
"""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from pathlib import Path

_STARTTIME = 22
"""Field of /proc/PID/stat with the clock ticks from boot to the process's start."""


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Option numbers. Source: malloc.h of glibc."""
KEPT_BYTES = 16 << 20
"""Bytes of freed memory that glibc keeps. The pixels of most frames are smaller: with 4 MB a 2-megapixel PNG costs 6 %
more."""


def give_memory_back() -> None:
    """Return the memory of large bodies to the system when they are freed.

    glibc keeps freed memory, up to twice the largest block so far, for each of up to eight arenas per CPU: twenty
    bodies of 5 to 20 MB left 340 MB. One arena is enough when one thread at a time holds the interpreter. Other C
    libraries have no such call and don't need it.

    Source: mallopt(3).
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in ((_M_MMAP_THRESHOLD, KEPT_BYTES), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_ARENA_MAX, 1)):
            mallopt(name, value)


def started_at() -> float:
    """Return the time of the process's start, Unix seconds, to a hundredth of a second."""
    # The second field is the command's name in brackets, which may hold brackets too.
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    ticks = int(fields[_STARTTIME - 3]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks


def usage() -> dict[str, float]:
    """Return memory, CPU time and start time, by Prometheus' names."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "process_resident_memory_bytes": resident,
        "process_cpu_seconds_total": time.process_time(),
        "process_start_time_seconds": started_at(),
    }

"""Reads memory, CPU time and start time of this process for metrics, and makes the C library return freed memory.

Source: proc_pid_stat(5), proc_pid_statm(5), proc_stat(5).
"""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from pathlib import Path

_STARTTIME = 22
"""Number of the field in /proc/PID/stat that holds the process's start, in clock ticks since boot."""


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Numbers of the options of mallopt(3). Source: malloc.h of glibc."""
KEPT_BYTES = 16 << 20
"""Maximum bytes of freed memory that glibc keeps for reuse. The pixels of most images fit: with 4 MB, decoding a PNG of
2 megapixels takes 6 % longer."""


def give_memory_back() -> None:
    """Make glibc return the memory of large request bodies to the operating system as soon as it is freed.

    By default glibc keeps freed memory, up to twice the largest block so far, in each of up to eight arenas per CPU:
    after twenty bodies of 5 to 20 MB, 340 MB were kept. One arena is enough, since Python's interpreter lock lets one
    thread run at a time. Other C libraries have no such call and don't need it.

    Source: mallopt(3).
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in ((_M_MMAP_THRESHOLD, KEPT_BYTES), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_ARENA_MAX, 1)):
            mallopt(name, value)


def started_at() -> float:
    """Return when this process started, in Unix seconds, to a hundredth of a second."""
    # The second field is the command's name in brackets, which may hold brackets too.
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    ticks = int(fields[_STARTTIME - 3]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks


def usage() -> dict[str, float]:
    """Return memory, CPU time and start time of this process, by the names of Prometheus' metrics."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "process_resident_memory_bytes": resident,
        "process_cpu_seconds_total": time.process_time(),
        "process_start_time_seconds": started_at(),
    }

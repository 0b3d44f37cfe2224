"""This process as the kernel sees it, for metrics. Source: proc_pid_stat(5), proc_pid_statm(5), proc_stat(5)."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STARTTIME = 22
"""Field of /proc/PID/stat: clock ticks from boot to the process's start."""


def started_at() -> float:
    """When it started, Unix time, to a hundredth of a second."""
    # The second field is the command's name in brackets and may hold anything, brackets too.
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    ticks = int(fields[_STARTTIME - 3]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks


def usage() -> dict[str, float]:
    """Memory, processor time and start, by the names that Prometheus has for them."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "process_resident_memory_bytes": resident,
        "process_cpu_seconds_total": time.process_time(),
        "process_start_time_seconds": started_at(),
    }

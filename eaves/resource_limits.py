"""Limits of the process: the CPUs that it may use, its memory, and the freed memory that it keeps.

`os.cpu_count()` returns the machine's CPUs. In a container with a limit of two CPUs on a node with 64 CPUs, a process
with 64 threads would exceed the limit, and the kernel would throttle all of its threads.
"""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path, PurePosixPath


def count_usable_cpus(root: Path = Path("/")) -> int:
    """Return the CPUs by affinity, or the cgroup's quota rounded up when that is less; at least 1.

    The quota of a cgroup also limits the cgroups below it, so the smallest quota counts. An unreadable quota is no
    limit.

    Args:
        root: Directory with /proc and /sys.
    """
    cpus = len(os.sched_getaffinity(0))
    quotas = [quota for group in _groups(root) if (quota := _read_quota(group)) > 0]
    return max(1, min([cpus, *(math.ceil(quota) for quota in quotas)]))


def read_memory_limit(root: Path = Path("/")) -> int:
    """Return the bytes of memory that the process may use: its cgroup's limit, or the machine's memory when it is less.

    The smallest limit of the cgroup and those above it counts. An unreadable limit is no limit; 0 means that no limit
    is known.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `memory.max`; proc_meminfo(5).

    Args:
        root: Directory with /proc and /sys.
    """
    limits = [_parse_count(_read(group / "memory.max")) for group in _groups(root)]
    total_kb = next((line.split()[1] for line in _read(root / "proc/meminfo").splitlines() if "MemTotal:" in line), "")
    return min((limit for limit in [*limits, _parse_count(total_kb) * 1024] if limit > 0), default=0)


def _parse_count(text: str) -> int:
    """Return a number of bytes or pages; 0 when the text is no number, such as `max`."""
    return int(text) if text.strip().isdecimal() else 0


def _read_quota(group: Path) -> float:
    """Return the number of CPUs that a cgroup may use, "$MAX $PERIOD" in its file; 0 means that it has no limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `cpu.max`.
    """
    quota, period, *_ = [*_read(group / "cpu.max").split(), "", ""]
    try:
        return max(0, int(quota)) / int(period or 100_000)
    except (ValueError, ZeroDivisionError):
        return 0


def _groups(root: Path) -> list[Path]:
    """Return the directories of this process's cgroup of version 2 and of its parents. Source: cgroups(7).

    Where /proc names the path on the host and only a part of the hierarchy is mounted, the root of that part counts.

    Args:
        root: Directory with /proc and /sys.
    """
    lines = _read(root / "proc/self/cgroup").splitlines()
    own = PurePosixPath(next((line[4:] for line in lines if line.startswith("0::/")), ""))
    return [root / "sys/fs/cgroup" / part for part in (own, *own.parents)]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


LARGE_BYTES = 131_072
"""Minimum size in bytes of a block of memory that returns to the kernel as soon as it is freed. The value is glibc's
default; glibc itself raises it to the size of the largest body, and keeps freed memory in pieces for each thread. With
24 concurrent requests of 8 MB, 4 of which fit into the memory budget, a process took 424 MB; with this setting it takes
122 MB."""
KEPT_BYTES = 8 << 20
"""Size in bytes of the free memory at the end of each arena that is kept for the next batch or image. With glibc's
default, 131,072, each batch of events gives back and asks for the same pages: a link drained a third more slowly."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Numbers of the options of mallopt. Source: malloc.h of glibc, mallopt(3)."""


def return_freed_memory(large_bytes: int = LARGE_BYTES, *, arenas: int = 2) -> None:
    """Return large blocks of memory to the system when they are freed. Entry points call this; it needs glibc.

    Args:
        large_bytes: Minimum size of such a block, bytes; when it exceeds `KEPT_BYTES`, so much is kept, too.
        arenas: Number of places that threads get memory from, each of which keeps freed memory of its own.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, large_bytes)
    mallopt(_M_TRIM_THRESHOLD, max(large_bytes, KEPT_BYTES))
    mallopt(_M_ARENA_MAX, arenas)

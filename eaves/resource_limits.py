"""Limits of the process: the CPUs that it may use, its memory, and the freed memory that it keeps.

`os.cpu_count()` returns the machine's CPUs. In a container with a limit of two CPUs on a node with 64 CPUs, a process
with 64 threads would exceed the limit, and the kernel would throttle all of its threads.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def count_usable_cpus(root: Path = Path("/")) -> int:
    """Return the CPUs by affinity, or the cgroup's quota rounded up when that is less; at least 1.

    The quota of a cgroup also limits the cgroups below it, so the smallest quota counts. An unreadable quota is no
    limit.

    Args:
        root: Directory with /proc and /sys.
    """
    cpus = len(os.sched_getaffinity(0))
    quotas = [quota for group in _groups(root, "cpu") if (quota := _read_quota(group)) > 0]
    return max(1, min([cpus, *(math.ceil(quota) for quota in quotas)]))


def read_memory_limit(root: Path = Path("/")) -> int:
    """Return the bytes of memory that the process may use: its cgroup's limit, or the machine's memory when it is less.

    The smallest limit of the cgroup and those above it counts. An unreadable limit is no limit; 0 means that no limit
    is known.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `memory.max`; cgroup-v1/memory.rst; proc_meminfo(5).

    Args:
        root: Directory with /proc and /sys.
    """
    names = ("memory.max", "memory.limit_in_bytes")
    limits = [_parse_count(_read(group / name)) for group in _groups(root, "memory") for name in names]
    total_kb = next((line.split()[1] for line in _read(root / "proc/meminfo").splitlines() if "MemTotal:" in line), "")
    return min((limit for limit in [*limits, _parse_count(total_kb) * 1024] if limit > 0), default=0)


def _parse_count(text: str) -> int:
    """Return a number of bytes or pages; 0 when the text is no number, such as `max`."""
    return int(text) if text.strip().isdecimal() else 0


def _read_quota(group: Path) -> float:
    """Return the number of CPUs that a cgroup may use; 0 means that it has no limit.

    Version 2 writes "$MAX $PERIOD" in one file, `max` for none; version 1, of RHEL 8 and Ubuntu 20.04, has two files,
    with -1 for none. Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `cpu.max`; scheduler/sched-bwc.rst.
    """
    names = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    quota, period, *_ = [*" ".join(_read(group / name) for name in names).split(), "", ""]
    try:
        return max(0, int(quota)) / int(period or 100_000)
    except (ValueError, ZeroDivisionError):
        return 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Return the directories of this process's cgroup and its parents, in every hierarchy with the controller.

    Args:
        root: Directory with /proc and /sys.
        controller: `cpu` or `memory`.
    """
    for controllers, name in _memberships(root, controller):
        for mounted, mount_root in _mounts(root, controllers, controller):
            # Without a cgroup namespace the path starts at the host's root, of which only a part is mounted here.
            inside = name.relative_to(mount_root) if name.is_relative_to(mount_root) else name.relative_to("/")
            yield from (mounted / part for part in (inside, *inside.parents))
            break


def _memberships(root: Path, controller: str) -> Iterator[tuple[str, PurePosixPath]]:
    """Return (controllers, cgroup) of this process in each hierarchy that may have the controller.

    The controllers are empty for version 2. Source: cgroups(7).
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if name.startswith("/") and (not controllers or controller in controllers.split(",")):
            yield controllers, PurePosixPath(name)


def _mounts(root: Path, controllers: str, controller: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """Return the mount points of a cgroup hierarchy, each with the cgroup that is mounted there.

    Source: proc_pid_mountinfo(5).
    """
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3 or not fields[3].startswith("/"):
            continue
        if kinds[0] == "cgroup2" if not controllers else kinds[0] == "cgroup" and controller in kinds[2].split(","):
            yield root / fields[4].lstrip("/"), PurePosixPath(fields[3])


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

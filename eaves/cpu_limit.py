"""Number of usable CPUs: those that the process may run on, or fewer when its cgroup has a lower quota.

`os.cpu_count()` returns the machine's CPUs. In a container with a limit of two CPUs on a node with 64 CPUs, a process
with 64 threads would exceed the limit, and the kernel would throttle all of its threads.
"""

from __future__ import annotations

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
    quotas = [quota for folder in _groups(root) for quota in (_quota_v1(folder), _quota_v2(folder)) if quota > 0]
    return max(1, min([cpus, *(math.ceil(quota) for quota in quotas)]))


def _quota_v2(group: Path) -> float:
    """Return the number of CPUs that a cgroup of version 2 may use; 0 means that it has no limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `cpu.max`: "$MAX $PERIOD", `max` for none.
    """
    quota, *period = _read(group / "cpu.max").split() or ["max"]
    return _ratio(quota, period[0] if period else "100000")


def _quota_v1(group: Path) -> float:
    """Return the number of CPUs that a cgroup of version 1 may use; 0 means that it has no limit.

    RHEL 8 and Ubuntu 20.04 use version 1.

    Source: Linux, Documentation/scheduler/sched-bwc.rst: microseconds, a quota of -1 for none.
    """
    return _ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float:
    try:
        return max(0, int(quota)) / int(period)
    except (ValueError, ZeroDivisionError):
        return 0


def _groups(root: Path) -> Iterator[Path]:
    """Return the directories of this process's cgroup and its parents, in every cgroup hierarchy that limits CPUs."""
    for controllers, name in _memberships(root):
        for mounted, mount_root in _mounts(root, controllers):
            # Without a cgroup namespace the path starts at the host's root, of which only a part is mounted here.
            inside = name.relative_to(mount_root) if name.is_relative_to(mount_root) else name.relative_to("/")
            yield from (mounted / part for part in (inside, *inside.parents))
            break


def _memberships(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """Return (controllers, cgroup) of this process in each hierarchy that limits CPUs.

    The controllers are empty for version 2. Source: cgroups(7).
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if name.startswith("/") and (not controllers or "cpu" in controllers.split(",")):
            yield controllers, PurePosixPath(name)


def _mounts(root: Path, controllers: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """Return the mount points of a cgroup hierarchy, each with the cgroup that is mounted there.

    Source: proc_pid_mountinfo(5).
    """
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3 or not fields[3].startswith("/"):
            continue
        if kinds[0] == "cgroup2" if not controllers else kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            yield root / fields[4].lstrip("/"), PurePosixPath(fields[3])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""

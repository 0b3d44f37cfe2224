"""Limits a process to a share of one CPU, so that it is as slow as on a smaller machine.

This needs root rights and a cgroup controller for the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 20_000
"""Period in which the CPU share is accounted, microseconds. It is short, so that a process that has used up its share
waits only milliseconds for the next period."""


@contextmanager
def slowed(pid: int, share: float, root: Path = ROOT) -> Iterator[bool]:
    """Limit the process `pid` to a share of one CPU during the `with` block.

    Args:
        pid: Id of the process.
        share: Share of one CPU that the process may use, 0 to 1.
        root: Directory where cgroups are mounted.

    Yields:
        True when the limit is set; False when this user may not set it, and nothing was changed.
    """
    old = (root / "cpu").is_dir()  # cgroup v1
    group = (root / "cpu" if old else root) / f"eaves-experiment-{pid}"
    home = (root / "cpu" if old else root) / "cgroup.procs"
    try:
        group.mkdir()
    except OSError:
        yield False
        return
    try:
        quota = int(PERIOD_US * share)
        if old:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        group.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # the process has ended
            home.write_text(str(pid))
        with suppress(OSError):
            group.rmdir()

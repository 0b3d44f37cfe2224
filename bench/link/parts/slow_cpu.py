"""A share of a processor for one process, so that it is as slow as a smaller machine; needs root and a cpu cgroup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 20_000
"""Short, so that a process that has used its share waits for milliseconds and not for tenths of a second."""


@contextmanager
def slowed(pid: int, share: float, root: Path = ROOT) -> Iterator[bool]:
    """Give a process this share of one processor for a while.

    Args:
        pid: The process.
        share: The share of one processor that it may use, 0 to 1.
        root: Where cgroups are mounted.

    Yields:
        slowed: False where this user can't do it, and nothing was changed.
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

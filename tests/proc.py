"""What the kernel tells of a process."""

import os
from contextlib import suppress
from pathlib import Path


def memory_bytes(pid: int | str = "self", field: str = "VmRSS") -> int:
    """Resident memory of a process, or its peak with `VmHWM`. Source: proc_pid_status(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def mapped_bytes(pid: int, *fields: str) -> int:
    """Sum of some fields of a process's memory, such as `Pss`. Source: proc_pid_smaps(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sum(sizes[field] for field in fields)


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken, seconds. Source: proc_pid_stat(5), utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def child_pids(pid: int) -> list[int]:
    """Children of all threads of a process. Source: proc_pid_task_tid_children(5)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            found += map(int, (task / "children").read_text().split())
    return found


def count_descriptors() -> int:
    """Files that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def is_running(pid: int) -> bool:
    """Whether a process runs; in a container nobody may reap one that has ended."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ends while its file is read
        return False

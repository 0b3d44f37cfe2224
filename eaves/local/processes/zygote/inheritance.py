"""What a process inherits from its parent, and which environment variables are read only while a program starts.

A replica inherits from the zygote what it would inherit from `eaves up` if that had started it. The two differ when
`eaves up` has been changed since it started the zygote, for example by prlimit(1), renice(1) or taskset(1).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_STATUS = (
    *("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
    *("NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed"),
)
"""Fields of /proc/PID/status that a child process inherits. Source: proc_pid_status(5)."""
_START_PREFIXES = (
    *("PYTHON", "LD_", "GLIBC_", "MALLOC_", "LC_", "LANG", "LOCPATH", "NLSPATH", "CHARSET"),
    *("OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "NPY_", "NUMPY_", "PILLOW_", "ORT_", "ONNX", "OPENSSL_"),
)
_START_NAMES = frozenset({"HOME"})
"""HOME: the folder of the user's own packages depends on it."""


def read_inheritance() -> tuple[str, ...]:
    """Return the limits, identity, priority, CPUs, cgroup and folder of this process, to be compared as a whole."""
    status = Path("/proc/thread-self/status").read_text().splitlines()
    folder = Path().stat()
    return (
        *(line for line in status if line.split(":")[0] in _STATUS),
        Path("/proc/self/limits").read_text(),
        Path("/proc/self/cgroup").read_text(),
        Path("/proc/self/oom_score_adj").read_text(),
        f"nice {os.getpriority(os.PRIO_PROCESS, 0)}, folder {folder.st_dev}:{folder.st_ino}",
    )


def find_start_variable(given: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Return a variable that is read while a program starts and whose value differs; empty when there is none.

    The interpreter, the C library and the numeric libraries read such variables once, so a forked process can't have
    its own value.

    Args:
        given: Environment that the zygote was started with.
        wanted: Environment of the replica.
    """
    for name in sorted(given.keys() | wanted.keys()):
        if (name in _START_NAMES or name.startswith(_START_PREFIXES)) and given.get(name) != wanted.get(name):
            return name
    return ""

"""Describes the machine and the software that a measurement used."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("onnxruntime", "numpy", "pillow", "tensorflow", "flask", "waitress")
DOT_PRODUCTS = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
"""Flags of CPUs that decide how fast int8 is. Source: Linux, /proc/cpuinfo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine and the software of a measurement.

    Attributes:
        cpu: Name of the CPU's model.
        flags: The flags of `DOT_PRODUCTS` that the CPU has.
        cpus: Number of CPUs that this process may use.
        memory_gb: Memory of the machine, GB.
        kernel: Name and release of the kernel.
        versions: Names and versions of Python and of packages.
        commit: Commit of the code, with `-dirty` when files differ from it; empty outside a git repository.
    """

    cpu: str
    flags: str
    cpus: int
    memory_gb: float
    kernel: str
    versions: str
    commit: str

    def describe(self) -> str:
        """Return the hardware as a text, such as `2 CPUs (AMD EPYC, avx2 avx512_vnni), 24 GB`."""
        cpu = ", ".join(part for part in (self.cpu, self.flags) if part)
        return f"{self.cpus} CPU{'' if self.cpus == 1 else 's'} ({cpu}), {self.memory_gb:.0f} GB"


def detect_machine() -> Machine:
    """Return a description of this machine."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    fields = {name.strip(): value.strip() for name, _, value in lines}
    words = (fields.get("flags") or fields.get("Features") or "").split()
    return Machine(
        cpu=fields.get("model name", platform.machine()),
        flags=" ".join(flag for flag in DOT_PRODUCTS if flag in words),
        cpus=len(os.sched_getaffinity(0)),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        kernel=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        versions=", ".join([f"Python {platform.python_version()}", *_versions(), f"SQLite {sqlite3.sqlite_version}"]),
        commit=_commit(),
    )


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    words = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()

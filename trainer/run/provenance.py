"""Records the code, the installed distributions and the hardware that made a run, so that it can be reproduced."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

from eaves.resource_limits import count_usable_cpus

PACKAGES = ("eaves", "trainer")
"""Python packages of Eaves whose code a training executes."""


@cache
def code_digest() -> str:
    """Return the sha256, hex, of the names and contents of all modules in `PACKAGES`."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for file in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        digest.update(
            f"{file.relative_to(root).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()


def installed_versions() -> dict[str, str]:
    """Return Python's version and the version of every installed distribution, by name."""
    found = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    return {"python": platform.python_version(), **dict(sorted(found.items()))}


def describe_hardware() -> dict[str, str]:
    """Return the processor, the number of usable CPUs, the memory and the system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": platform.processor() or platform.machine(),
        "CPUs usable": str(count_usable_cpus()),
        "memory": f"{memory:.1f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }

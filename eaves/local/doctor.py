"""Checks of this machine before an app runs on it: packages, disk, memory, clock, port, cameras."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

from eaves.platform import SourceSpec
from eaves.platform.findings import Finding, error, note, ok, warning
from eaves.resource_limits import read_memory_limit
from eaves.sources.agent.configuration import read_source

NAMES = ("eaves", "trainer", "functions", "converters", "knative")
INSTALL_AGAIN = "pip install --force-reinstall --no-deps .   # in a checkout of Eaves"
"""Command that installs Eaves again from a checkout; no package index has Eaves, another package may have its name."""
MIN_DISK, MIN_MEMORY = 2_000_000_000, 500_000_000
"""Free bytes on the disk, and bytes of memory, below which queues and a model may have too little room."""


def examine_machine(file: Path, sources: Sequence[SourceSpec], port: int) -> Iterator[Finding]:
    """Check this machine for an app.

    Args:
        file: eaves.yaml, which was read without a fault if it exists; its disk holds the queues.
        sources: Sources of the app.
        port: TCP port of the local platform.
    """
    yield from check_packages()
    folder = file.absolute().parent
    if file.exists():
        yield ok("settings", f"{file} has no faults")
    else:
        yield note("settings", f"{file} does not exist", "eaves init")
    free, memory = shutil.disk_usage(folder).free, read_memory_limit()
    room = f"{free / 1e9:.1f} GB of the disk are free"
    yield ok("disk", room) if free >= MIN_DISK else warning("disk", f"only {room}", f"du -xh {folder} | sort -h")
    size = f"this machine has {memory / 1e9:.1f} GB of memory"
    yield ok("memory", size) if memory >= MIN_MEMORY else warning("memory", f"{size}", "use a smaller model, or int8")
    shown = f"this machine's clock shows {time.ctime()}"
    if time.time() < Path(__file__).stat().st_mtime:
        yield error("clock", f"{shown}, which is before Eaves was installed", "timedatectl set-ntp true")
    else:
        yield ok("clock", shown)
    with socket.socket() as one:
        if one.connect_ex(("127.0.0.1", port)):
            yield ok("port", f"the port {port} of `eaves up` is free")
        else:
            yield note("port", f"a program listens at port {port}, such as a running `eaves up`", "eaves status")
    for source in sources:
        configured, _ = read_source(source.settings, str(file), "")
        for problem, fix in configured.kind.check(configured.settings) if configured else ():
            yield error("sources", f"{source.name}: {problem}", fix)


def check_packages() -> Iterator[Finding]:
    """Check whether each of Eaves' packages is imported from one folder and belongs to no other distribution."""
    owners = packages_distributions()
    origins = {name: getattr(find_spec(name), "origin", None) for name in NAMES}
    homes = {name: Path(origin).parent.parent if origin else None for name, origin in origins.items()}
    faults = [
        f"{name} is also installed by {', '.join(others)}"
        for name in NAMES
        if (others := set(owners.get(name, ())) - {"eaves"})
    ]
    faults += [f"{name} is imported from {home}" for name, home in homes.items() if home != homes["eaves"]]
    if faults:
        yield error("packages", f"packages of Eaves are hidden or overwritten: {'; '.join(faults)}", INSTALL_AGAIN)
    else:
        yield ok("packages", f"the packages {', '.join(NAMES)} belong to Eaves alone")

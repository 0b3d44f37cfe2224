"""Computes the size of PyAV, and of the packages that Debian's ffmpeg adds to a slim container image."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_SLIM = """
base-files bash coreutils dpkg apt debianutils findutils grep gzip hostname init-system-helpers
login ncurses-bin perl-base sed sysvinit-utils tar util-linux mawk passwd mount tzdata
ca-certificates netbase libsqlite3-0 libssl3t64 libffi8 libbz2-1.0 liblzma5 libreadline8t64 libuuid1
zlib1g libexpat1 libncursesw6 libgdbm6t64 libdb5.3t64
"""
"""Packages that python:3.11-slim has on Debian 13; their dependencies come with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """Packages that an installation adds.

    Attributes:
        count: Number of packages.
        installed_mb: Their size on disk as they state it, MB.
        download_mb: Size of their files, MB.
    """

    count: int
    installed_mb: float
    download_mb: float


def measure_pyav_mb() -> float:
    """Return the size of PyAV's files without byte code, MB."""
    distribution = metadata.distribution("av")
    paths = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.exists()) / 1e6


def measure_debian(package: str = "ffmpeg") -> Packages | None:
    """Return what `apt-get install --no-install-recommends` would add to a slim image; None without apt's lists."""
    try:
        before, after = _plan(*_SLIM.split()), _plan(*_SLIM.split(), package)
        command = ["apt-cache", "show", "--no-all-versions", *sorted(after - before)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    installed, files = (re.findall(rf"^{name}: (\d+)$", text, re.MULTILINE) for name in ("Installed-Size", "Size"))
    return Packages(
        count=len(after - before),
        installed_mb=sum(map(int, installed)) * 1024 / 1e6,
        download_mb=sum(map(int, files)) / 1e6,
    )


def _plan(*packages: str) -> set[str]:
    """Return all packages that apt would install on a machine that has none."""
    with tempfile.NamedTemporaryFile() as status:
        options = ["-o", f"Dir::State::status={status.name}", "-o", "Debug::NoLocking=1"]
        command = ["apt-get", "-s", *options, "install", "--no-install-recommends", "-y", *packages]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^Inst (\S+) ", text, re.MULTILINE))

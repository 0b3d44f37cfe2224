"""What made a run, so that it can be made again: the code, every installed distribution."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("eaves", "trainer")
"""Ours that training runs through."""


@cache
def code_digest() -> str:
    """sha256 over our packages' modules, by name and content, hex."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for file in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        digest.update(
            f"{file.relative_to(root).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()


def installed_versions() -> dict[str, str]:
    """Python's version, and that of every distribution that this process could import, by name."""
    found = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    return {"python": platform.python_version(), **dict(sorted(found.items()))}

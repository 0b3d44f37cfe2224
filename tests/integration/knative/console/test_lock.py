"""The console of a site needs no package that its container image doesn't have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOCK = Path(__file__).parents[4] / "requirements" / "console.txt"
BLOCKED = """
import importlib.metadata, re, sys

def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()

pinned = {canonical(line.partition("==")[0]) for line in open(sys.argv[1]) if re.match(r"[\\w.-]+==", line)} | {"eaves"}
owners = importlib.metadata.packages_distributions()

class Blocker:
    def find_spec(self, name, path=None, target=None):
        found = {canonical(owner) for owner in owners.get(name.partition(".")[0], ())}
        if found and not found & pinned:
            raise ModuleNotFoundError(f"the lock lacks {name}", name=name)

sys.meta_path.insert(0, Blocker())
import knative.console.__main__
import eaves.console.thumbnails.maker
"""
"""Imports the console's process while every distribution that the lock doesn't pin looks as if it were missing."""


def test_it_starts_with_the_packages_of_its_lock() -> None:
    if not LOCK.exists():
        pytest.skip(f"{LOCK} is not there: this is not the source tree")
    command = [sys.executable, "-P", "-c", BLOCKED, str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]

"""The console of a site needs no package that its container image doesn't have."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.processes.commands import run_command

ROOT = Path(__file__).parents[4]
LOCK = ROOT / "requirements" / "console.txt"
BLOCKED = """
import importlib.metadata, json, re, sys

def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()

pinned = {canonical(line.partition("==")[0]) for line in open(sys.argv[1]) if re.match(r"[\\w.-]+==", line)} | {"eaves"}
owners = importlib.metadata.packages_distributions() | {"tests": []}  # a distribution may have such a package, too

class Blocker:
    def find_spec(self, name, path=None, target=None):
        found = {canonical(owner) for owner in owners.get(name.partition(".")[0], ())}
        if found and not found & pinned:
            raise ModuleNotFoundError(f"the lock lacks {name}", name=name)

sys.meta_path.insert(0, Blocker())
import knative.console
import eaves.console.thumbnails
from tests.integration.knative.console.site_pages import open_site_pages
print(json.dumps(open_site_pages()))
"""
"""Opens the console's pages while every distribution that the lock doesn't pin looks as if it were missing."""
LINKED = {
    "events.detail",
    "events.show",
    "functions.detail",
    "functions.log",
    "functions.show",
    "images.full",
    "images.thumbnail",
    "models.show",
    "overview.show",
    "try_it.show",
}
"""Pages of a site that links lead to."""


def test_every_page_needs_only_the_packages_of_its_lock():
    if not LOCK.exists():
        pytest.skip(f"{LOCK} is not there: this is not the source tree")
    command = [sys.executable, "-P", "-c", BLOCKED, str(LOCK)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run_command(command, timeout=60, env=environ)
    assert done.returncode == 0, done.stderr[-4000:]
    assert set(json.loads(done.stdout)) >= LINKED

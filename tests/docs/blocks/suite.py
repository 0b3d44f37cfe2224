"""What the local and the slow suite share: how a script of a page runs on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.blocks.pages import ROOT
from tests.docs.blocks.preparation import QUICK, prepare
from tests.docs.blocks.runner import Transcript, build_environ, find_missing, run_script
from tests.docs.blocks.script import Script
from tests.ports import find_ports

SHARED = ROOT.parent / "shared"


def build_values(up: int, other: int) -> dict[str, str]:
    """Variables that pages set in a block marked `values`, with this machine's values.

    Args:
        up: Free port of loopback that `eaves up` listens at.
        other: Another one, for whatever else the page starts.
    """
    return {
        "UP": f"http://127.0.0.1:{up}",
        "PORT": str(other),
        "WEIGHTS": str(SHARED / "weights/inception_v3_notop.weights.h5"),
        "FLOWERS": str(SHARED / "data/flowers"),
        "REPOSITORY": str(ROOT),
    }


def run_here(script: Script, tmp_path: Path, factory: pytest.TempPathFactory, *, timeout_s: float) -> Transcript:
    """Run a script in a fresh folder below `tmp_path`, on loopback; an example's in a copy of its own folder.

    Without what it needs it is skipped, with the reason.
    """
    if missing := find_missing(script):
        pytest.skip(f"needs {', '.join(missing)}")
    folder, home = tmp_path / "reader", tmp_path / "home"
    up, other = find_ports(2)
    home.mkdir()
    before = prepare(folder, script.preparations, factory)
    if script.page.startswith("examples/"):
        shutil.copytree((ROOT / script.page).parent, folder, dirs_exist_ok=True)
    environ = build_environ(home, EAVES_UP_PORT=str(up), **QUICK)
    values = build_values(up, other)
    return run_script(script, folder, environ=environ, values=values, before=before, timeout_s=timeout_s)

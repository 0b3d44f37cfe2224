"""Every block of commands that needs a cluster, run as its page has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks.script import Script, build_scripts
from tests.docs.blocks.suite import run_here

SCRIPTS = build_scripts("cluster")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_page_runs_as_typed(script: Script, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_here(script, tmp_path, tmp_path_factory, timeout_s=1700)

"""Every block of commands that takes seconds, run as its page has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks.script import Script, build_scripts
from tests.docs.blocks.suite import run_here

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a page's video file is a device

SCRIPTS = build_scripts("local")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_page_runs_as_typed(script: Script, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_here(script, tmp_path, tmp_path_factory, timeout_s=280)

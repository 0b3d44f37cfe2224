"""Every block of commands that takes seconds, run as its page has it."""

from pathlib import Path

import pytest

from tests.docs.blocks.script import Script, build_scripts
from tests.docs.blocks.suite import run_here

pytestmark = pytest.mark.disk  # below /dev, where tests have files in memory, a page's video file is a device

QUICK = {"README.md", "docs/function.md", "docs/local-platform.md", "docs/sources.md[own]"}
"""Scripts of `make test`; the others are of `make test-slow`. `test_every_block_is_valid` reads all."""
SCRIPTS = [script for script in build_scripts("local") if str(script) in QUICK]


@pytest.mark.long("a reader trains, converts, deploys and predicts")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_page_runs_as_typed(script: Script, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    run_here(script, tmp_path, tmp_path_factory, timeout_s=280)

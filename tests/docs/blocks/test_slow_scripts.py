"""Every block of commands that takes minutes, run as its page has it; `make test-slow`."""

from pathlib import Path

import pytest

from tests.docs.blocks.script import Script, build_scripts
from tests.docs.blocks.suite import run_here
from tests.docs.blocks.test_local_scripts import QUICK

SCRIPTS = [*build_scripts("slow"), *(script for script in build_scripts("local") if str(script) not in QUICK)]


@pytest.mark.slow
@pytest.mark.long("a page with trainings, or with a cluster's tools")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_page_runs_as_typed(script: Script, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    run_here(script, tmp_path, tmp_path_factory, timeout_s=3500)

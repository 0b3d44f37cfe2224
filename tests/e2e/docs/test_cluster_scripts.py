"""Every block of commands that needs a cluster, run as its page has it."""

import os
from pathlib import Path

import pytest

from tests.docs.blocks.preparation import prepare
from tests.docs.blocks.runner import build_environ, find_missing, run_script
from tests.docs.blocks.script import Script, build_scripts
from tests.docs.clusters.earlier_pages import split_preparations
from tests.e2e.docs.reader import SMALL, Values

SCRIPTS = build_scripts("cluster")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_page_runs_as_typed(
    script: Script,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    kubeconfig: Path | None,
):
    if missing := find_missing(script):
        pytest.skip(f"needs {', '.join(missing)}")
    names, earlier = split_preparations(script)
    folder, home, beside = tmp_path / "reader", tmp_path / "home", tmp_path / "beside"
    home.mkdir()
    beside.mkdir()
    before = [*prepare(folder, names, tmp_path_factory), *earlier]
    artifact = (folder / "artifacts/latest").resolve()
    values = Values(request, beside, artifact).build([*earlier, *script.blocks])
    config = kubeconfig or Path(os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    environ = build_environ(home, **SMALL, KUBECONFIG=str(config.absolute()), DOCKER_CONFIG=str(home / "no-logins"))
    run_script(script, folder, environ=environ, values=values, before=before, timeout_s=1700)

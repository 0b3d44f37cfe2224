"""The commands of Eaves on pages about a cluster, run as the page has them, against a simulated cluster."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.blocks.block import Block
from tests.docs.blocks.preparation import prepare
from tests.docs.blocks.runner import build_environ, run_script
from tests.docs.blocks.script import Script, build_scripts
from tests.docs.blocks.suite import Place, run_registry
from tests.docs.clusters.earlier_pages import split_preparations
from tests.fakes.controllers.installation import install_knative
from tests.fakes.controllers.knative import Knative
from tests.fakes.kubernetes.apiserver import open_apiservers, write_kubeconfig
from tests.inputs.artifacts import copy_artifact

NAMESPACE = "flowers"
MARK = "simulated"


def is_simulated(block: Block) -> bool:
    """Whether a block of a page about a cluster runs here."""
    return MARK in block.marks


SCRIPTS = [script for script in build_scripts("cluster") if any(map(is_simulated, script.blocks))]
EXPECTED: Mapping[str, tuple[str, ...]] = {
    "docs/knative.md": ("daisy/000.jpg", "flowers-00002", "removed"),
    "docs/knative.md[rollout]": ("flowers-00001", "flowers-00002"),
    "docs/knative.md[doctor]": ("permissions",),
}
"""Texts that the commands of each page print."""


def digest(name: str, letter: str) -> str:
    """A container image that nothing pulls."""
    return f"registry.example/team/{name}@sha256:{letter * 64}"


@pytest.mark.timeout(300)
@pytest.mark.long("a model is trained, packaged, deployed and rolled out")
@pytest.mark.slow  # `make test` runs commands of a rollout in test_cli_on_clusters.py, and reads all: test_commands.py
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_page_runs_on_a_simulated_cluster(script: Script, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    names, earlier = split_preparations(script)
    blocks = tuple(filter(is_simulated, script.blocks))
    folder, home = tmp_path / "reader", tmp_path / "home"
    home.mkdir()
    before = [*prepare(folder, names, tmp_path_factory), *filter(is_simulated, earlier)]
    values = {
        "NAMESPACE": NAMESPACE, "ARTIFACT": "artifacts/latest", "NEXT_ARTIFACT": str(tmp_path / "next"),
        "AGENT_IMAGE": digest("eaves-agent", "a"), "TRAINER_IMAGE": digest("eaves-trainer", "b"),
    }  # fmt: skip
    if (artifact := folder / "artifacts/latest").exists():
        copy_artifact(artifact.resolve(), tmp_path / "next", version="2")
    environ = {"KUBECONFIG": str(tmp_path / "kubeconfig")}
    with (
        open_apiservers(["barn"]) as (server,),
        run_registry(tmp_path, tmp_path_factory) if artifact.exists() else nullcontext(Place()) as registry,
    ):
        server.objects.make_namespace(NAMESPACE)
        install_knative(server)
        Knative(server, NAMESPACE)
        write_kubeconfig(tmp_path / "kubeconfig", {"barn": server.url}, namespace="default")
        pushed = registry.values.get("REPOSITORY", "registry.example/team/flowers").rpartition("/")[0]
        values |= {**registry.values, "REGISTRY": pushed}
        transcript = run_script(
            replace(script, blocks=blocks),
            folder,
            environ=build_environ(home, **{**registry.environ, **environ}),
            values=values,
            before=before,
        )
    assert [text for text in EXPECTED.get(str(script), ()) if text not in transcript.text] == [], transcript.text

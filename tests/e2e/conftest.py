"""A real cluster: `pytest --e2e --kubeconfig FILE --registry HOST/PREFIX tests/e2e`. Everything is in one namespace."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eaves.artifact import open_artifact
from knative.cluster import Cluster, open_cluster
from knative.kinds import NAMESPACE
from tests.artifacts import tiny_artifact
from tests.contract.conftest import make_app, make_event, sink
from tests.e2e.harness import MANAGER, KnativeHarness, start_sink
from tests.oci import build_base, run_package
from tests.waiting import wait_until

__all__ = ["make_app", "make_event", "sink", "tiny_artifact"]

PutImage = Callable[[Path], str]


@pytest.fixture(scope="session")
def registry(pytestconfig: pytest.Config) -> str:
    """HOST/PREFIX that this machine pushes to and the cluster pulls from."""
    named = str(pytestconfig.getoption("--registry") or "")
    if not named:
        pytest.fail("say which registry the cluster pulls from: --registry HOST/PREFIX (or EAVES_E2E_REGISTRY)")
    return named


@pytest.fixture(scope="session")
def put_image(registry: str, tmp_path_factory: pytest.TempPathFactory) -> PutImage:
    """Package an artifact on the Python that runs the tests, and push it; the same artifact once."""
    folder = tmp_path_factory.mktemp("e2e")
    build_base(folder / "base", plain=True)
    done: dict[str, str] = {}

    def put(artifact: Path) -> str:
        digest = open_artifact(artifact).digest
        if digest not in done:
            target = f"{registry}/digits:{digest[:12]}"
            words = (artifact, "-t", target, "--base", f"oci:{folder}/base:base", "--plain-http")
            done[digest] = run_package(folder / "cache", *words).stdout.strip()
        return done[digest]

    return put


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path | None, put_image: PutImage, tiny_artifact: Path) -> Iterator[Cluster]:
    """A namespace under restricted Pod Security, with a sink in it; gone afterwards."""
    name = f"eaves-e2e-{secrets.token_hex(3)}"
    opened = open_cluster(kubeconfig=kubeconfig, namespace=name)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    opened.apply(namespace, manager=MANAGER)
    try:
        start_sink(opened, put_image(tiny_artifact))
        yield opened
    finally:
        opened.delete(NAMESPACE, name)
        wait_until(lambda: opened.get(NAMESPACE, name) is None, 180, pause_s=1, what="the namespace's end")


@pytest.fixture
def harness(cluster: Cluster, put_image: PutImage) -> Iterator[KnativeHarness]:
    """The namespace, empty."""
    made = KnativeHarness(cluster, put_image)
    try:
        yield made
    finally:
        made.clear()

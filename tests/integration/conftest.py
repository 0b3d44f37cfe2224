"""What integration tests share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.rollouts import canary, serving
from tests.cluster.simulated import apiserver, cluster, knative
from tests.container_images.packaging import find_runtime_cache
from tests.container_images.registries import LocalRegistry, serve_registry
from tests.contract.harness import LocalHarness, open_local_harness
from tests.contract.sinks import LocalSink, open_sink
from tests.inputs.artifacts import inspection, tiny_artifact, tiny_graph, tiny_int8, tiny_run
from tests.processes.function import image, shared_function, start

__all__ = [
    "apiserver",
    "canary",
    "cluster",
    "image",
    "inspection",
    "knative",
    "serving",
    "shared_function",
    "start",
    "tiny_artifact",
    "tiny_graph",
    "tiny_int8",
    "tiny_run",
]


@pytest.fixture(scope="session")
def oci_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XDG_CACHE_HOME that keeps the runtime's layers, which take long to make, for all tests of this process."""
    return Path(shutil.copytree(find_runtime_cache(tmp_path_factory), tmp_path_factory.mktemp("runtime") / "cache"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    """A registry that lets everybody in, without TLS; tests use repositories of their own."""
    with serve_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def harness() -> Iterator[LocalHarness]:
    """`eaves up` on a state directory of its own."""
    with open_local_harness() as made:
        yield made


@pytest.fixture
def sink() -> Iterator[LocalSink]:
    with open_sink() as opened:
        yield opened

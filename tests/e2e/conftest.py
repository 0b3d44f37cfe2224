"""A real cluster: `pytest --e2e --kubeconfig FILE --registry HOST/PREFIX tests/e2e`. Everything is in one namespace."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eaves.artifact import open_artifact
from eaves.oci.copy import open_location
from eaves.oci.layers.image import load_images
from eaves.oci.registry.transport import Access
from eaves.platform import RelaySpec
from knative.client.cluster import Cluster, open_cluster
from knative.client.kinds import NAMESPACE
from tests.container_images.packaging import build_base, need, run_package
from tests.contract.conftest import SITE as CONTRACT_SITE
from tests.contract.conftest import Receiving, make_app, make_event, sink
from tests.contract.sinks import Sink
from tests.e2e.harness import KnativeHarness, KnativeSink, start_sink
from tests.e2e.inventory import find_outside
from tests.e2e.link import start_cloud
from tests.e2e.outages import collect_images, registry_down
from tests.e2e.places import Namespaces, Place
from tests.e2e.pods import apply
from tests.inputs.artifacts import copy_artifact, tiny_artifact
from tests.processes.rtsp_server import PACKAGES
from tests.waiting import wait_until

__all__ = ["collect_images", "make_app", "make_event", "registry_down", "sink", "tiny_artifact"]

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
            words = (artifact, "-t", target, "--base", f"oci:{folder}/base:base", "--plain-http", "--allow-handler")
            done[digest] = run_package(folder / "cache", *words).stdout.strip()
        return done[digest]

    return put


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path | None, put_image: PutImage, tiny_artifact: Path) -> Iterator[Cluster]:
    """A namespace under restricted Pod Security, with a sink in it; gone afterwards."""
    name = f"eaves-e2e-{secrets.token_hex(3)}"
    opened = open_cluster(kubeconfig=kubeconfig, namespace=name)
    apply(opened, NAMESPACE, name, labels={"pod-security.kubernetes.io/enforce": "restricted"})
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


@pytest.fixture
def receiver(
    harness: KnativeHarness, sink: Sink, namespaces: Namespaces, agent_image: str, tmp_path: Path
) -> Iterator[Receiving]:
    """A receiver with TLS in another namespace, that lets one site in."""
    need("kubectl")
    cloud = start_cloud(
        namespaces.open("cloud"), site=CONTRACT_SITE, image=agent_image, folder=tmp_path,
        kubeconfig=namespaces.kubeconfig, sink=sink.url,
    )  # fmt: skip
    cloud.make_secret(harness.cluster, "link")
    harness.use_agents(agent_image)
    yield Receiving(relay=RelaySpec(to=cloud.url, secret="link", spool_size="100Mi"), sink=sink)
    namespaces.close(cloud.cluster.namespace)


@pytest.fixture(scope="session")
def namespaces(kubeconfig: Path | None) -> Iterator[Namespaces]:
    """Namespaces of tests' own; once all are gone, nothing in the cluster may remember them."""
    made = Namespaces(kubeconfig)
    try:
        yield made
    finally:
        made.close_all()
        wait_until(
            lambda: not find_outside(made.cluster, made.prefix), 60, pause_s=1, what="a cluster without a trace of us"
        )


@pytest.fixture
def place(namespaces: Namespaces, tmp_path: Path) -> Iterator[Place]:
    """A project that nothing is deployed of yet, in a namespace of its own under restricted Pod Security."""
    made = open_project(namespaces, tmp_path)
    yield made
    namespaces.close(made.cluster.namespace)


def open_project(namespaces: Namespaces, folder: Path) -> Place:
    """A project and its namespace."""
    made = Place(cluster=namespaces.open("place"), kubeconfig=namespaces.kubeconfig, folder=folder)
    made.configure()
    return made


@pytest.fixture
def outside(cluster: Cluster) -> KnativeSink:
    """A subscriber in the session's namespace, which every other reaches."""
    return KnativeSink(cluster, f"/outside-{secrets.token_hex(3)}")


@pytest.fixture(scope="session")
def image(put_image: PutImage, tiny_artifact: Path) -> str:
    """The digits function's container image, by digest."""
    return put_image(tiny_artifact)


@pytest.fixture(scope="session")
def version(tiny_artifact: Path) -> str:
    """Version of the model in the artifact."""
    return open_artifact(tiny_artifact).manifest.version


@pytest.fixture(scope="session")
def second_artifact(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as version 2."""
    return copy_artifact(tiny_artifact, tmp_path_factory.mktemp("second") / "artifact", version="2")


@pytest.fixture(scope="session")
def second_image(put_image: PutImage, second_artifact: Path) -> str:
    """Its container image."""
    return put_image(second_artifact)


def make_image_fixture(option: str, how: str = "") -> Any:
    """A fixture of the container image that an option names, by digest; tests that need it are skipped without."""

    def image(pytestconfig: pytest.Config) -> str:
        named = str(pytestconfig.getoption(f"--{option}-image") or "")
        if not named:
            needed = how or f"Dockerfile, target {option}"
            pytest.skip(f"needs the {option}'s container image at a registry: --{option}-image ({needed})")
        found = open_location(named, Access(plain_http=True))
        assert found.reference is not None
        return str(found.reference.pinned(found.resolve().digest))

    return pytest.fixture(scope="session")(image)


agent_image, camera_image = make_image_fixture("agent"), make_image_fixture("agent-camera")
agent_s3_image, trainer_image = make_image_fixture("agent-s3"), make_image_fixture("trainer")
console_image = make_image_fixture("console")
mosquitto_image = make_image_fixture("mosquitto", "with Debian's packages mosquitto and mosquitto-clients")
rtsp_image = make_image_fixture("rtsp", f"with Debian's packages {', '.join(PACKAGES)}")
s3_image = make_image_fixture("s3", "with moto[server] from PyPI")


@pytest.fixture(scope="session")
def trainer_python(trainer_image: str) -> str:
    """Python version of the trainer's container image; functions are packaged for the same minor version."""
    found = open_location(trainer_image, Access(plain_http=True))
    environment = next(load_images(found.store, found.resolve())).values["config"]["Env"]
    return dict(str(entry).split("=", 1) for entry in environment)["PYTHON_VERSION"]

"""What a registry tells of a function's container image before it is deployed."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from eaves.errors import OciError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import Reference
from eaves.oci.package import ARTIFACT_LABEL, CLASSES_LABEL, TASK_LABEL
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from knative.deploy.function_image import resolve_image
from tests.container_images.registries import small_index
from tests.fakes.http.registry import FakeRegistry, serve_fake

PLAIN = Access(plain_http=True, configs=(Path("/nowhere/config.json"),), pause_s=0.01)
DIGEST, OTHER = "a" * 64, "c" * 64


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serve_fake() as running:
        yield running


def reported(digest: str = DIGEST, task: str = "classify") -> dict[str, str]:
    return {ARTIFACT_LABEL: f"sha256:{digest}", TASK_LABEL: task}


def push(registry: FakeRegistry, folder: Path, *labels: Mapping[str, str]) -> tuple[str, str]:
    """Its tag, and its name by digest."""
    layout, index = small_index(folder, labels=labels, architectures=("amd64", "arm64")[: max(1, len(labels))])
    reference = Reference(host=registry.host, repository="barn/flowers", tag="v1")
    copy_image(layout, Registry(reference, PLAIN), index, name="v1")
    return str(reference), str(reference.pinned(index.digest))


@pytest.mark.parametrize("task", ["embed", "anomaly"])
def test_a_tag_becomes_a_digest_and_its_labels_say_what_it_is(task: str, registry: FakeRegistry, tmp_path: Path):
    tag, name = push(registry, tmp_path, {**reported(task=task), CLASSES_LABEL: '["daisy"]'})
    found = resolve_image(tag, PLAIN)
    assert (found.name, found.artifact_digest, found.task, found.classes) == (name, DIGEST, task, '["daisy"]')
    assert "@sha256:" in found.name
    assert resolve_image(name, PLAIN) == found


def test_an_index_is_one_function_for_several_platforms(registry: FakeRegistry, tmp_path: Path):
    tag, name = push(registry, tmp_path, reported(), reported())
    assert resolve_image(tag, PLAIN).name == name


def test_an_index_whose_platforms_hold_different_artifacts_is_refused(registry: FakeRegistry, tmp_path: Path):
    tag, _ = push(registry, tmp_path, reported(), reported(OTHER))
    with pytest.raises(OciError, match="name no artifact, or different ones"):
        resolve_image(tag, PLAIN)


@pytest.mark.parametrize(
    "labels", [{"for": "tests"}, {ARTIFACT_LABEL: DIGEST}, {ARTIFACT_LABEL: f"sha256:{DIGEST}", TASK_LABEL: "fly"}]
)
def test_what_names_no_artifact_is_no_function(labels: dict[str, str], registry: FakeRegistry, tmp_path: Path):
    tag, _ = push(registry, tmp_path, labels)
    with pytest.raises(OciError, match="is not the container image of a function") as raised:
        resolve_image(tag, PLAIN)
    assert "build it with eaves package" in str(raised.value.hint)


def test_a_folder_on_this_machine_is_where_no_node_can_fetch_it(tmp_path: Path):
    small_index(tmp_path, architectures=("amd64",))
    with pytest.raises(OciError, match="is not at a registry"):
        resolve_image(f"oci:{tmp_path / 'layout'}", PLAIN)

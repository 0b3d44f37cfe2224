"""Uploads of blobs: in one request, continued where that is supported, and at registries with rules of their own."""

import hashlib
import random
import tracemalloc
from pathlib import Path

import pytest

from eaves.errors import OciError
from eaves.oci.descriptor import LAYER, Descriptor, Reference
from eaves.oci.layout import create_layout
from eaves.oci.registry.registry import Registry
from tests.container_images.registries import LocalRegistry
from tests.fakes.http.registry import FakeRegistry, Request
from tests.integration.oci.blobs import QUICK, push, reach, write_blob

MIB = 1024 * 1024
LARGE = random.Random(1).randbytes(10 * MIB)


def ranges(fake: FakeRegistry) -> list[str]:
    """The range of each PATCH, empty where it has none."""
    return [request.headers.get("Content-Range", "") for request in fake.asked("PATCH uploads")]


def test_a_large_blob_goes_up_in_one_request(fake: FakeRegistry, tmp_path: Path):
    _, descriptor, reported = push(fake, tmp_path, LARGE)
    assert [request.what for request in fake.log] == ["POST uploads", "PATCH uploads", "PUT uploads"]
    patch, put = fake.log[1:]
    assert (patch.headers["Content-Length"], put.headers["Content-Length"]) == (str(len(LARGE)), "0")
    assert "Content-Range" not in patch.headers
    assert "Transfer-Encoding" not in patch.headers
    assert reported == descriptor.size


def test_an_upload_that_breaks_off_is_sent_again_as_a_whole(fake: FakeRegistry, tmp_path: Path):
    """GitHub's registry refuses large chunks, Google's all, and JFrog's keeps only the last one."""
    fake.keep = [0, 7 * MIB]
    _, descriptor, reported = push(fake, tmp_path, LARGE)
    assert reported == descriptor.size
    assert ranges(fake) == ["", "", ""]


def test_a_token_that_expires_during_an_upload(fake: FakeRegistry, tmp_path: Path):
    fake.auth = "bearer"
    left = ["PATCH uploads"]

    def expire(request: Request) -> None:
        if left and request.what == left[0]:
            left.pop()
            fake.tokens.clear()

    fake.fault = expire
    _, descriptor, reported = push(fake, tmp_path, LARGE)
    assert (len(fake.asked("PATCH uploads")), len(fake.asked("PUT uploads"))) == (2, 1)
    assert reported == descriptor.size


def test_content_that_was_altered_on_disk_is_never_complete(fake: FakeRegistry, tmp_path: Path):
    layout, descriptor = write_blob(tmp_path, LARGE)
    path = layout.blob_path(descriptor.digest)
    path.chmod(0o644)
    path.write_bytes(LARGE[:-1] + b"x")
    with pytest.raises(OciError, match="wrong digest or size"):
        reach(fake).write(descriptor, layout, lambda size: None)
    assert not fake.asked("PUT uploads")
    assert not fake.content.blobs


def test_a_large_layer_is_not_held_in_memory(registry: LocalRegistry, tmp_path: Path):
    layout, size = create_layout(tmp_path / "layout"), 64 * MIB
    digest = hashlib.sha256(bytes(size)).hexdigest()
    descriptor = Descriptor(media_type=LAYER, digest=f"sha256:{digest}", size=size)
    with layout.blob_path(descriptor.digest).open("wb") as file:
        file.truncate(size)
    target = Registry(Reference(host=registry.host, repository="real/large"), QUICK)
    tracemalloc.start()
    try:
        target.write(descriptor, layout, lambda size: None)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert target.has(descriptor)

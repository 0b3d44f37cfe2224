"""Uploads of blobs: in one request, continued where that is supported, and at registries with rules of their own."""

from __future__ import annotations

import hashlib
import random
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from eaves.errors import OciError, RegistryError
from eaves.oci.descriptor import LAYER, Descriptor, Reference
from eaves.oci.layout import Layout, create_layout
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.container_images.registries import LocalRegistry
from tests.fakes.http.registry import FakeRegistry, Reply, Request
from tests.integration.oci.blobs import QUICK, push, reach, write_blob

MIB = 1024 * 1024
LARGE = random.Random(1).randbytes(10 * MIB)


def ranges(fake: FakeRegistry) -> list[str]:
    """The range of each PATCH, empty where it has none."""
    return [request.headers.get("Content-Range", "") for request in fake.asked("PATCH uploads")]


def test_a_large_blob_goes_up_in_one_request(fake: FakeRegistry, tmp_path: Path) -> None:
    _, descriptor, reported = push(fake, tmp_path, LARGE)
    assert [request.what for request in fake.log] == ["POST uploads", "PATCH uploads", "PUT uploads"]
    patch, put = fake.log[1:]
    assert (patch.headers["Content-Length"], put.headers["Content-Length"]) == (str(len(LARGE)), "0")
    assert "Content-Range" not in patch.headers
    assert "Transfer-Encoding" not in patch.headers
    assert reported == descriptor.size


def test_an_empty_blob(fake: FakeRegistry, tmp_path: Path) -> None:
    push(fake, tmp_path, b"")


def test_an_upload_that_breaks_off_is_sent_again_as_a_whole(fake: FakeRegistry, tmp_path: Path) -> None:
    """GitHub's registry refuses large chunks, Google's all, and JFrog's keeps only the last one."""
    fake.keep = [0, 7 * MIB]
    _, descriptor, reported = push(fake, tmp_path, LARGE)
    assert reported == descriptor.size
    assert ranges(fake) == ["", "", ""]


def test_an_upload_that_always_breaks_off_ends(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.keep = [50_000] * 100
    with pytest.raises(RegistryError, match="stopped: ") as caught:
        push(fake, tmp_path, random.Random(3).randbytes(100_000))
    assert "push again" in str(caught.value.hint)
    assert len(ranges(fake)) == QUICK.attempts


@pytest.mark.parametrize(("status", "words"), [(400, "answered 400"), (413, "larger than the registry's limit")])
def test_content_that_is_refused_as_a_whole_is_not_sent_again(
    fake: FakeRegistry, tmp_path: Path, status: int, words: str
) -> None:
    fake.fault = lambda request: Reply(status=status) if request.method == "PATCH" else None
    with pytest.raises(RegistryError, match=words):
        push(fake, tmp_path, b"content")
    assert len(fake.asked("PATCH uploads")) == 1


def test_a_token_that_expires_during_an_upload(fake: FakeRegistry, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("error", [RegistryError("the base's registry is gone"), OSError(5, "Input/output error")])
def test_an_error_of_the_source_is_not_taken_for_the_registry_s(
    fake: FakeRegistry, tmp_path: Path, error: Exception
) -> None:
    class Broken(Layout):
        opened = 0

        @contextmanager
        def open(self, *args: object, **options: object) -> Iterator[BinaryIO]:
            self.opened += 1
            raise error
            yield

    broken = Broken(create_layout(tmp_path / "broken").path)
    with pytest.raises(type(error)) as caught:
        reach(fake).write(Descriptor(media_type=LAYER, digest=f"sha256:{'0' * 64}", size=7), broken, lambda size: None)
    assert caught.value is error
    assert broken.opened == 1


def test_content_that_was_altered_on_disk_is_never_complete(fake: FakeRegistry, tmp_path: Path) -> None:
    layout, descriptor = write_blob(tmp_path, LARGE)
    path = layout.blob_path(descriptor.digest)
    path.chmod(0o644)
    path.write_bytes(LARGE[:-1] + b"x")
    with pytest.raises(OciError, match="wrong digest or size"):
        reach(fake).write(descriptor, layout, lambda size: None)
    assert not fake.asked("PUT uploads")
    assert not fake.content.blobs


def test_a_large_layer_is_not_held_in_memory(registry: LocalRegistry, tmp_path: Path) -> None:
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


def test_a_dead_link_is_given_up(fake: FakeRegistry, tmp_path: Path) -> None:
    layout, descriptor = write_blob(tmp_path, LARGE)
    over = threading.Event()
    fake.pace = lambda size: over.wait(60)
    access = Access(plain_http=True, config=QUICK.config, connect_s=0.2, read_s=0.2, attempts=1)
    try:
        with pytest.raises(RegistryError, match=r"can't be reached|stopped"):
            reach(fake, access).write(descriptor, layout, lambda size: None)
    finally:
        over.set()

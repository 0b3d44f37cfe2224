"""An OCI layout on disk: content by digest, names, many writers, damage."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eaves.errors import OciError, OciNotFoundError
from eaves.oci.descriptor import MANIFEST, Descriptor, build_descriptor
from eaves.oci.layout import Layout, create_layout, open_layout


def put(layout: Layout, content: bytes, name: str | None) -> Descriptor:
    descriptor = build_descriptor(content, MANIFEST)
    layout.write_manifest(descriptor, content, name)
    return descriptor


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return create_layout(tmp_path / "layout")


def test_a_name_stands_for_the_last_that_got_it(layout: Layout):
    put(layout, b"{}", "a")
    other, last = put(layout, b"{ }", "b"), put(layout, b"{  }", "a")
    assert layout.resolve("a").digest == last.digest
    assert layout.resolve(other.digest).digest == other.digest
    with pytest.raises(OciNotFoundError, match="entries: a, b"):
        layout.resolve("c")
    with pytest.raises(OciNotFoundError, match="no single entry"):
        layout.resolve("")


def test_many_writers_lose_no_name(tmp_path: Path):
    """Two `eaves package` at once, into a layout that isn't there yet."""

    def name_one(number: int) -> None:
        put(create_layout(tmp_path / "layout"), b"{}" + b" " * number, f"v{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(name_one, range(24)))
    names = {
        entry.annotations["org.opencontainers.image.ref.name"] for entry in open_layout(tmp_path / "layout").entries()
    }
    assert names == {f"v{number}" for number in range(24)}
    assert not [left for name in (".new-*", ".*.tmp") for left in (tmp_path / "layout").rglob(name)]


def test_a_maker_that_was_killed_leaves_what_the_next_one_completes(layout: Layout):
    kept = put(layout, b"{}", "a")
    (layout.path / "oci-layout").unlink()
    assert create_layout(layout.path).resolve("a").digest == kept.digest


@pytest.mark.parametrize("damage", [b"{ }", b"{}}", b"{"])
def test_damaged_content_is_never_read(layout: Layout, damage: bytes):
    descriptor = put(layout, b"{}", "a")
    layout.blob_path(descriptor.digest).write_bytes(damage)
    with pytest.raises(OciError, match="wrong digest"):
        layout.read(descriptor)
    shutil.rmtree(layout.path / "blobs")
    with pytest.raises(OciNotFoundError):
        layout.read(descriptor)

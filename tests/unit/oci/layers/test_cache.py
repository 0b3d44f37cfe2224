"""A layer is made once for what it is made from, and again when the cache lost or damaged it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.oci.layers.cache import kept_layer
from eaves.oci.layers.layer import Layer, LayerFile, write_layer
from eaves.oci.store.layout import Layout, create_layout


class Maker:
    """Makes a layer in a cache, and counts how often."""

    def __init__(self, cache: Layout) -> None:
        self.cache, self.times = cache, 0

    def __call__(self) -> Layer:
        self.times += 1
        return write_layer(self.cache, [LayerFile(path="a", content=b"content")], "title")


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(create_layout(tmp_path / "cache"))


def test_a_layer_is_made_once_for_all_that_it_is_made_from(make: Maker) -> None:
    first = kept_layer(make.cache, ("a", b"b"), make)
    assert kept_layer(make.cache, ("a", b"b"), make) == first
    assert make.times == 1
    for other in (("a",), ("ab",), ("b", "a"), ("a", b"b", "")):
        kept_layer(make.cache, other, make)
    assert make.times == 5


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"descriptor":1,"diff_id":"","title":""}'])
def test_a_damaged_entry_counts_as_none(make: Maker, damage: bytes) -> None:
    first = kept_layer(make.cache, ("a",), make)
    (entry,) = (path for path in make.cache.path.glob("*.json") if path.name != "index.json")
    entry.write_bytes(damage)
    assert kept_layer(make.cache, ("a",), make) == first
    assert kept_layer(make.cache, ("a",), make) == first
    assert make.times == 2


def test_damaged_or_lost_content_is_made_again(make: Maker) -> None:
    first = kept_layer(make.cache, ("a",), make)
    blob = make.cache.blob_path(first.descriptor.digest)
    content = blob.read_bytes()
    for damaged in (content[:-1], content[:-1] + b"x", content + b"x"):
        blob.write_bytes(damaged)
        assert kept_layer(make.cache, ("a",), make) == first
        assert blob.read_bytes() == content
    blob.unlink()
    kept_layer(make.cache, ("a",), make)
    assert make.times == 5

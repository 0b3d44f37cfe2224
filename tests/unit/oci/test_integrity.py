"""Documents that anybody may have written: what isn't a container image is said so, whatever it is."""

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from eaves.errors import OciError
from eaves.oci.copy import check_content
from eaves.oci.descriptor import Descriptor, build_descriptor, digest_of
from eaves.oci.layers.image import load_images
from eaves.oci.layout import Layout
from tests.container_images.registries import check_image, small_index

JUNK: tuple[Any, ...] = (None, True, -1, 1.5, "x", "", [], [1], {}, {"x": 1}, "sha256:" + "0" * 64)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Descriptor]:
    return small_index(tmp_path_factory.mktemp("good"), architectures=("amd64", "arm64"))


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a document."""
    yield path
    for key, value in (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    ):
        yield from places(value, (*path, key))


def changes(values: Any) -> Iterator[Any]:
    """A document with one thing in it exchanged for each kind of junk."""
    for path in places(values):
        for junk in JUNK:
            changed = copy.deepcopy(values)
            if not path:
                yield junk
                continue
            there = changed
            for key in path[:-1]:
                there = there[key]
            there[path[-1]] = junk
            yield changed


def store(layout: Layout, values: Any, media_type: str) -> Descriptor:
    content = json.dumps(values).encode()
    descriptor = build_descriptor(content, media_type)
    layout.write_bytes(content, descriptor)
    return descriptor


def check(layout: Layout, descriptor: Descriptor) -> None:
    """It may be good or bad, but not crash."""
    with suppress(OciError):
        check_image(layout, descriptor)


def test_an_index_and_a_manifest_with_junk_in_them(good: tuple[Layout, Descriptor]):
    layout, index = good
    for document in (index, next(load_images(layout, index)).descriptor):
        for values in changes(json.loads(layout.read(document))):
            check(layout, store(layout, values, document.media_type))


def test_a_config_with_junk_in_it(good: tuple[Layout, Descriptor]):
    layout, index = good
    image = next(load_images(layout, index))
    manifest = json.loads(layout.read(image.descriptor))
    for values in changes(json.loads(layout.read(image.config))):
        changed = {**manifest, "config": store(layout, values, image.config.media_type).to_dict()}
        check(layout, store(layout, changed, image.descriptor.media_type))


def test_an_index_of_nothing_and_one_with_attestations(good: tuple[Layout, Descriptor]):
    layout, index = good
    values = json.loads(layout.read(index))
    assert check_image(layout, store(layout, {**values, "manifests": []}, index.media_type)) == []
    attestation = {**values["manifests"][0], "platform": {"os": "unknown", "architecture": "unknown"}}
    other = {"mediaType": "application/vnd.example+json", "digest": digest_of(b"x"), "size": 1}
    more = {**values, "manifests": [*values["manifests"], attestation, other]}
    assert len(check_image(layout, store(layout, more, index.media_type))) == 2


def test_a_layer_that_is_longer_than_it_says(good: tuple[Layout, Descriptor], tmp_path: Path):
    layout, index = small_index(tmp_path)
    layer = next(load_images(layout, index)).layers[-1]
    path = layout.blob_path(layer.digest)
    path.write_bytes(path.read_bytes() * 1000)
    reported: list[int] = []
    with pytest.raises(OciError, match="wrong digest or size"):
        check_content(layout, layer, reported.append)
    assert sum(reported) < path.stat().st_size / 2, "no more of it is read than shows that"

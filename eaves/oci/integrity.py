"""Check of every byte of a container image against its documents: manifests, configs, layers and unpacked layers.

A digest in a manifest identifies a layer as it is transferred, and a diff id in a config identifies its unpacked
content. All nodes check the digest; few check the diff id.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from eaves.errors import OciError
from eaves.oci.descriptor import LAYER, LAYER_GZIP, OF_DOCKER, Descriptor
from eaves.oci.layers.image import Image, load_images
from eaves.oci.store.content_store import CHUNK_BYTES, ContentSource, HashedStream, Progress, require_content


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What `check_content` has checked.

    Attributes:
        images: Container images, one for each platform.
        layers: Distinct layers of all platforms.
    """

    images: tuple[Image, ...]
    layers: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Total size of the layers in bytes."""
        return sum(layer.size for layer in self.layers)


def check_content(
    source: ContentSource,
    descriptor: Descriptor,
    progress: Callable[[Sequence[Descriptor]], Progress] = lambda layers: lambda size: None,
) -> Checked:
    """Read all content of a container image and compare it with its digests and diff ids.

    Args:
        source: Source that has the container image.
        descriptor: Descriptor of the container image's manifest or index.
        progress: Function that is called with all layers, and returns the function that is then called with the size of
            each part that was read.

    Raises:
        OciError: When content is missing, or doesn't match its digest or diff id.
    """
    images = tuple(load_images(source, descriptor))
    if not images:
        raise OciError(f"{descriptor.digest} is not the index of a container image")
    wanted = {
        (layer.digest, str(diff_id)): layer
        for image in images
        for layer, diff_id in zip(image.layers, image.values["rootfs"]["diff_ids"], strict=True)
    }
    layers = tuple(wanted.values())
    report = progress(layers)
    for (_, diff_id), layer in wanted.items():
        _check_layer(source, layer, diff_id, report)
    return Checked(images=images, layers=layers)


def _check_layer(source: ContentSource, layer: Descriptor, diff_id: str, progress: Progress) -> None:
    kind = OF_DOCKER.get(layer.media_type, layer.media_type)
    if kind not in (LAYER, LAYER_GZIP):
        raise OciError(f"the layer {layer.digest} is a {kind[:80]}, which can't be unpacked and checked")
    with source.open(layer) as stream:
        wire = _Wire(stream, layer.size, progress)
        file = cast("BinaryIO", wire)
        plain = HashedStream(cast("BinaryIO", gzip.GzipFile(fileobj=file)) if kind == LAYER_GZIP else file)
        is_damaged = False
        try:
            while plain.read():
                pass
        except (gzip.BadGzipFile, EOFError, zlib.error):
            is_damaged = True
        while wire.read():
            pass
    require_content(layer, wire.digest, wire.size)
    if is_damaged or plain.digest != diff_id:
        raise OciError(f"the layer {layer.digest} unpacks to other content than its config names ({diff_id[:80]})")


class _Wire(HashedStream):
    """The bytes of a layer as they are transferred; the stream ends when there are more of them than expected."""

    def __init__(self, stream: BinaryIO, limit: int, progress: Progress) -> None:
        super().__init__(stream)
        self._limit, self._progress = limit, progress

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        piece = super().read(size) if self.size <= self._limit else b""
        self._progress(len(piece))
        return piece

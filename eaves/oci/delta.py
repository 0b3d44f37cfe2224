"""Comparison of two container images: the content that a node which has the old one must fetch for the new one."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.oci.copy import content_of
from eaves.oci.descriptor import Descriptor, ImagePlatform
from eaves.oci.layers.image import Image, pick_image
from eaves.oci.store.content_store import ContentSource


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaStep:
    """One piece of content of the new container image.

    Attributes:
        what: `manifest`, `config`, or the layer's title.
        descriptor: Descriptor of the content.
        there: Whether the node has the content already.
    """

    what: str
    descriptor: Descriptor
    there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """The content of the new container image, each piece with the information whether the node has it.

    Attributes:
        steps: Every piece of content, in the order manifest, config, layers from the bottom.
    """

    steps: tuple[DeltaStep, ...]

    @property
    def fetched_bytes(self) -> int:
        """Number of bytes that the node must fetch, compressed as they are transferred."""
        return sum(step.descriptor.size for step in self.steps if not step.there)

    @property
    def total_bytes(self) -> int:
        """Number of bytes that a node would fetch if it had none of the content."""
        return sum(step.descriptor.size for step in self.steps)


def compute_delta(
    old: tuple[ContentSource, Descriptor], new: tuple[ContentSource, Descriptor], platform: ImagePlatform
) -> Delta:
    """Return the content that a node with the old container image must fetch to run the new one.

    Args:
        old: Source and descriptor of the old container image.
        new: Source and descriptor of the new container image.
        platform: Platform of the node.

    Raises:
        OciError: When one of the container images has no variant for the platform, or can't be read.
    """
    here = {piece.digest for piece in content_of(pick_image(*old, platform))}
    image = pick_image(*new, platform)
    titles = _titles(image)
    return Delta(
        steps=tuple(
            DeltaStep(what=titles[number], descriptor=piece, there=piece.digest in here)
            for number, piece in enumerate(content_of(image))
        )
    )


def _titles(image: Image) -> list[str]:
    """Return a title for the manifest, the config and each layer of a container image.

    The title of a layer is its annotation, otherwise the command in the config's history, otherwise its number.
    """
    history = [entry for entry in image.values.get("history") or [] if not entry.get("empty_layer")]
    names = ["manifest", "config"]
    for number, layer in enumerate(image.layers):
        title = layer.annotations.get("org.opencontainers.image.title")
        by = str(history[number].get("created_by", "")) if number < len(history) else ""
        names.append(title or by[:60] or f"layer {number + 1}")
    return names

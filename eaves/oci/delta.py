"""What a node that has one container image fetches to have another."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.oci.copy import content_of
from eaves.oci.descriptor import Descriptor, ImagePlatform
from eaves.oci.layers.image import Image, pick_image
from eaves.oci.store.content_store import ContentSource


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaStep:
    """One piece of the container image that is wanted.

    Attributes:
        what: `manifest`, `config`, or the layer's title.
        descriptor: Of it.
        there: Whether the node has it.
    """

    what: str
    descriptor: Descriptor
    there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What is to be fetched.

    Attributes:
        steps: Every piece, from the manifest up.
    """

    steps: tuple[DeltaStep, ...]

    @property
    def fetched_bytes(self) -> int:
        """On the wire."""
        return sum(step.descriptor.size for step in self.steps if not step.there)

    @property
    def total_bytes(self) -> int:
        """For a node that has nothing."""
        return sum(step.descriptor.size for step in self.steps)


def compute_delta(
    old: tuple[ContentSource, Descriptor], new: tuple[ContentSource, Descriptor], platform: ImagePlatform
) -> Delta:
    """What a node of this platform that has the old one fetches for the new one.

    Raises:
        OciError: When either has nothing for this platform, or can't be read.
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
    """A name for each piece: the layer's own, else what the config's history says of it, else its place."""
    said = [entry for entry in image.values.get("history") or [] if not entry.get("empty_layer")]
    names = ["manifest", "config"]
    for number, layer in enumerate(image.layers):
        title = layer.annotations.get("org.opencontainers.image.title")
        by = str(said[number].get("created_by", "")) if number < len(said) else ""
        names.append(title or by[:60] or f"layer {number + 1}")
    return names

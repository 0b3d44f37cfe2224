"""Description of a function's container image as data and as text: model, base, standard library and layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eaves.cli.display.artifact_view import megabytes
from eaves.oci.layers.image import Image
from eaves.oci.package import ARTIFACT_LABEL, COMPILED, find_library_form

_TITLE = "org.opencontainers.image.title"
_LABELS = {
    "model": _TITLE,
    "version": "org.opencontainers.image.version",
    "artifact": ARTIFACT_LABEL,
    "base": "org.opencontainers.image.base.name",
    "base digest": "org.opencontainers.image.base.digest",
    "packaged by Eaves": "dev.eaves.version",
}
"""Heading of each line of the description to the label whose value it shows."""


def summarise_image(image: Image) -> dict[str, Any]:
    """Return the platform, the labels, the form of the standard library and the layers as plain data."""
    layers = [
        {"title": layer.annotations.get(_TITLE, ""), "size_bytes": layer.size, "digest": layer.digest}
        for layer in image.layers
    ]
    return {
        "platform": str(image.platform),
        "standard_library": find_library_form(image),
        "labels": dict(image.labels),
        "layers": layers,
    }


def describe_image(image: Image) -> Iterator[tuple[str, str]]:
    """Describe one platform's container image as (name, value) lines."""
    yield "platform", str(image.platform)
    for heading, label in _LABELS.items():
        if label in image.labels:
            yield heading, str(image.labels[label])
    if find_library_form(image) == COMPILED:
        yield "standard library", "has byte code of the modules that the function imports"
    else:
        yield "standard library", "has no byte code, so each cold start compiles the modules that it imports"
    for layer in image.layers:
        yield f"layer {layer.annotations.get(_TITLE) or 'of the base'}", f"{megabytes(layer.size)}, compressed"

"""Container images on the command line of `eaves verify`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.base.terminal import escape
from eaves.cli.display.output import print_value, progress, say
from eaves.errors import OciError

if TYPE_CHECKING:
    from eaves.oci.descriptor import Descriptor
    from eaves.oci.layers.image import Image
    from eaves.oci.registry.registry import Access
    from eaves.oci.signatures import Signed

_AT_A_REGISTRY = re.compile(r"[^./][^/]*[.:][^/]*/.+|localhost/.+|.+@sha256:[0-9a-f]{64}|oci:.*")


def is_container_image(text: str) -> bool:
    """Return whether a name on the command line is that of a container image.

    The path of an existing file or folder is not; it names an artifact.
    """
    return bool(_AT_A_REGISTRY.fullmatch(text)) and not Path(text).exists()


def verify_container_image(text: str, *, key: Path | None, signed_as: str | None, access: Access, form: str) -> None:
    """Check a container image's signature, then the digest of every part; print what was checked.

    Raises:
        EavesError: When the signature or a digest is wrong, or when the container image can't be read.
    """
    from eaves.oci.copy import check_content
    from eaves.oci.descriptor import parse_reference
    from eaves.oci.image_location import open_location
    from eaves.oci.layers.image import load_images
    from eaves.oci.registry.registry import Registry
    from eaves.oci.signatures import find_signature, load_public_key

    public = load_public_key(key) if key else None
    place = open_location(text, access)
    if place.reference is None and public is not None:
        raise OciError(
            f"{text} is a layout on disk, which has no signatures",
            hint="verify it without --key, or verify the container image at a registry with --key",
        )
    if place.reference is not None and public is None:
        raise OciError(
            f"{place.reference} is at a registry, so verifying its origin needs a public key",
            hint="eaves verify IMAGE --key PUBLIC_KEY",
        )
    descriptor = place.resolve()  # once: a tag may move, its digest may not
    signed = None
    if public is not None and place.reference is not None and isinstance(place.store, Registry):
        repository = parse_reference(signed_as) if signed_as else place.reference
        signed = find_signature(place.store, descriptor, public, repository)
    images = list(load_images(place.store, descriptor))
    if not images:
        raise OciError(f"{descriptor.digest} is not the index of a container image")
    layers = list({layer.digest: layer for image in images for layer in image.layers}.values())
    with progress("reading layers", sum(layer.size for layer in layers)) as bar:
        for layer in layers:
            check_content(place.store, layer, bar.update)
    name = str(place.reference.pinned(descriptor.digest)) if place.reference else f"{text}@{descriptor.digest}"
    _print(name, descriptor, images, layers, signed, public.id if public else None, form)


def _print(
    name: str,
    descriptor: Descriptor,
    images: list[Image],
    layers: list[Descriptor],
    signed: Signed | None,
    key: str | None,
    form: str,
) -> None:
    said = images[0].labels
    labels = {str(name): str(value) for name, value in said.items()} if isinstance(said, Mapping) else {}
    platforms = [str(image.platform) for image in images]
    size = sum(layer.size for layer in layers)
    verdict = {
        "name": name,
        "digest": descriptor.digest,
        "key": key,
        "signed_as": signed.repository if signed else None,
        "annotations": dict(signed.annotations) if signed else {},
        "artifact": labels.get("dev.eaves.artifact"),
        "platforms": platforms,
        "layers": len(layers),
        "layer_bytes": size,
        "labels": labels,
    }
    if form != "table":
        print_value(verdict, form)
    else:
        click.echo(name)
        for label, value in labels.items():
            say(escape(f"  {label}: {value}", keep=""))
    by = f"signed by {key}" if key else "no signature was checked, only the digests of its content"
    say(f"verified: {', '.join(platforms)}; {len(layers)} layers, {size} bytes; {by}")

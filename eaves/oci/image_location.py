"""Locations of container images: `oci:DIR` and `oci:DIR:NAME` name a layout, anything else a registry's repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor, Reference, parse_reference
from eaves.oci.layout import Layout, create_layout, open_layout
from eaves.oci.registry.registry import Access, Registry

LAYOUT = "oci:"
VERSION = "{version}"
"""Placeholder for the model's version in a tag that a pipeline publishes to."""
BEST, SERVING = "best", "serving"
"""Roles of container images among those that a pipeline publishes, each named by a tag: the best model so far, and the
model that serves again after a rollback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLocation:
    """The location that a container image is read from or written to.

    Attributes:
        store: The layout or repository.
        name: Tag or digest in the layout or repository. In a layout it may be empty, and then stands for the only
            entry.
        reference: Reference at a registry; None for a layout.
    """

    store: Layout | Registry
    name: str
    reference: Reference | None = None

    def resolve(self) -> Descriptor:
        """Return the descriptor that the name stands for.

        Raises:
            OciError: When the layout or repository has no such name.
        """
        return self.store.resolve(self.name)

    def tag(self, descriptor: Descriptor) -> None:
        """Let the name stand for a container image that the layout or repository has already.

        Raises:
            OciError: When the container image isn't there.
            RegistryError: When the registry fails, or refuses it.
        """
        self.store.write_manifest(descriptor, self.store.read(descriptor), self.name)


def name_role(target: str, role: str) -> str:
    """Return the name of the container image that has a role among those that a pipeline publishes.

    Args:
        target: Repository that the pipeline publishes to, with its tag if that isn't the version alone; the tag may
            contain `VERSION`.
        role: `BEST` or `SERVING`.
    """
    if VERSION in target:
        return target.replace(VERSION, role)
    return f"{target}-{role}" if ":" in target.rpartition("/")[2] else f"{target}:{role}"


def open_location(text: str, access: Access, *, create: bool = False) -> ImageLocation:
    """Open the layout or repository that a name stands for.

    Args:
        text: `oci:DIR[:NAME]` for a layout, or the reference of a container image at a registry.
        access: Settings for reaching registries.
        create: Whether a layout that doesn't exist is created.

    Raises:
        OciError: When the name is malformed, or the layout doesn't exist.
    """
    if text.startswith(LAYOUT):
        folder, name = _split(text.removeprefix(LAYOUT))
        if not folder:
            raise OciError(f"{text!r} contains no folder", hint="name a folder, for example oci:build/flowers:v1")
        return ImageLocation(store=(create_layout if create else open_layout)(Path(folder)), name=name)
    reference = parse_reference(text)
    return ImageLocation(store=Registry(reference, access), name=reference.name, reference=reference)


def _split(text: str) -> tuple[str, str]:
    """Split `DIR`, `DIR:NAME` or `DIR@DIGEST` into the folder and the name or digest, which may be empty."""
    folder, at, digest = text.partition("@")
    if at:
        return folder, digest
    folder, colon, name = text.rpartition(":")
    return (folder, name) if colon and "/" not in name else (text, "")

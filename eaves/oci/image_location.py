"""Names of places to what is there: `oci:DIR` and `oci:DIR:NAME` a layout, anything else a registry's repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.errors import OciError
from eaves.oci.descriptor import Descriptor
from eaves.oci.reference import Reference, parse_reference
from eaves.oci.registry.registry import Access, Registry
from eaves.oci.store.layout import Layout, create_layout, open_layout

LAYOUT = "oci:"
ARCHIVE = ".tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLocation:
    """Where a container image is or goes.

    Attributes:
        store: The layout or repository.
        name: Tag or digest there; empty in a layout: its only one.
        reference: At a registry; None in a layout.
    """

    store: Layout | Registry
    name: str
    reference: Reference | None = None

    def resolve(self) -> Descriptor:
        """What it names.

        Raises:
            OciError: When there is none.
        """
        return self.store.resolve(self.name)


def open_location(text: str, access: Access, *, create: bool = False) -> ImageLocation:
    """Where a name leads.

    Args:
        text: `oci:DIR[:NAME]`, or a reference.
        access: How registries are reached.
        create: Whether a layout that isn't there is made.

    Raises:
        OciError: When the name is none, or the layout isn't there.
    """
    if text.startswith(LAYOUT):
        folder, name = _split(text.removeprefix(LAYOUT))
        if not folder:
            raise OciError(f"{text!r} names no folder", hint="such as oci:build/flowers:v1")
        return ImageLocation(store=(create_layout if create else open_layout)(Path(folder), access.say), name=name)
    if text.endswith(ARCHIVE):
        raise OciError(f"{text!r} is a tar, which is only written", hint=f"skopeo copy oci-archive:{text} oci:DIR:NAME")
    reference = parse_reference(text)
    return ImageLocation(store=Registry(reference, access), name=reference.name, reference=reference)


def _split(text: str) -> tuple[str, str]:
    """Folder and name; a digest is a name too."""
    folder, at, digest = text.partition("@")
    if at:
        return folder, digest
    folder, colon, name = text.rpartition(":")
    return (folder, name) if colon and "/" not in name else (text, "")

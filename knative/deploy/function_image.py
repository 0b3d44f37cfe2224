"""A function's container image at a registry: its name by digest, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from eaves.artifact.manifest import CLASSIFY, EMBED, TENSOR
from eaves.errors import OciError
from eaves.oci.image_location import open_location
from eaves.oci.layers.image import load_images
from eaves.oci.package import ARTIFACT_LABEL, TASK_LABEL
from eaves.oci.reference import parse_reference
from eaves.oci.registry.registry import Access
from eaves.oci.sign.keys import PublicKey
from eaves.oci.sign.signature import find_signature


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionImage:
    """What a cluster is told to run.

    Attributes:
        name: `REPOSITORY@sha256:...`.
        artifact_digest: sha256 of its artifact's manifest, hex; empty when it wasn't asked.
        task: What its artifact does.
    """

    name: str
    artifact_digest: str = ""
    task: str = CLASSIFY


def trust_image(text: str) -> FunctionImage:
    """A name by digest, without asking the registry: where only the site can reach it.

    Raises:
        OciError: When it names no digest.
    """
    reference = parse_reference(text)
    if not reference.digest:
        raise OciError(f"{text} is a tag, and only the registry knows what it is", hint="name the digest")
    return FunctionImage(name=str(reference.pinned(reference.digest)))


def resolve_image(text: str, access: Access, *, key: PublicKey | None = None) -> FunctionImage:
    """Ask the registry what a name is now.

    Args:
        text: A reference, by tag or digest.
        access: How the registry is reached.
        key: Who must have signed it; None: nobody need have.

    Raises:
        OciError: When it isn't there, is no function's, or isn't signed by the key.
    """
    place = open_location(text, access)
    if place.reference is None:
        raise OciError(f"{text} is not at a registry, where nodes could fetch it", hint="skopeo copy it to one")
    descriptor = place.resolve()
    if key is not None:
        find_signature(place.store, descriptor, key, place.reference)
    pinned = str(place.reference.pinned(descriptor.digest))
    told = {
        (image.labels.get(ARTIFACT_LABEL, ""), image.labels.get(TASK_LABEL, CLASSIFY))
        for image in load_images(place.store, descriptor)
    }
    if len(told) != 1:
        raise OciError(f"{pinned} holds another artifact on each platform", hint="eaves package makes them alike")
    ((artifact, task),) = told
    if not artifact.startswith("sha256:") or task not in (CLASSIFY, EMBED, TENSOR):
        raise OciError(
            f"{pinned} is no function's container image: it names no artifact", hint="eaves package makes them"
        )
    return FunctionImage(name=pinned, artifact_digest=artifact.removeprefix("sha256:"), task=task)

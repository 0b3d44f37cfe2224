"""A function's container image at a registry: its name by digest, and the labels that describe its artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eaves.artifact.manifest import ANOMALY, CLASSIFY, EMBED, TENSOR
from eaves.errors import OciError
from eaves.oci.descriptor import parse_reference
from knative.inventory import FunctionImage

if TYPE_CHECKING:
    from eaves.oci.registry.transport import Access
    from eaves.oci.signatures import PublicKey


def trust_image(text: str) -> FunctionImage:
    """Build a `FunctionImage` from a name by digest, without a request to the registry.

    The registry may be reachable only from the site.

    Raises:
        OciError: When the text names no digest.
    """
    reference = parse_reference(text)
    if not reference.digest:
        raise OciError(
            f"{text} names a tag; without asking the registry its digest is not known",
            hint="name the container image by digest: REPOSITORY@sha256:...",
        )
    return FunctionImage(name=str(reference.pinned(reference.digest)))


def resolve_image(text: str, access: Access, *, key: PublicKey | None = None) -> FunctionImage:
    """Ask the registry for the digest that a container image's name refers to now, and for its labels.

    Args:
        text: Name of the container image, by tag or digest.
        access: Connection settings and credentials for the registry.
        key: Public key that must have signed the container image; None accepts an unsigned one.

    Raises:
        OciError: When the container image doesn't exist, holds no function, or isn't signed by the key.
    """
    # A site's console imports this module without the packages of the extra `oci`, and asks no registry.
    from eaves.oci.copy import open_location
    from eaves.oci.layers.image import load_images
    from eaves.oci.package import ARTIFACT_LABEL, CLASSES_LABEL, TASK_LABEL
    from eaves.oci.registry.registry import Registry
    from eaves.oci.signatures import find_signature

    place = open_location(text, access)
    if place.reference is None or not isinstance(place.store, Registry):
        raise OciError(
            f"{text} is not at a registry, so nodes can't pull it",
            hint="copy the container image to a registry (skopeo copy)",
        )
    descriptor = place.resolve()
    if key is not None:
        find_signature(place.store, descriptor, key, place.reference)
    pinned = str(place.reference.pinned(descriptor.digest))
    labelled = {
        (labels.get(ARTIFACT_LABEL, ""), labels.get(TASK_LABEL, CLASSIFY), labels.get(CLASSES_LABEL, ""))
        for labels in (image.labels for image in load_images(place.store, descriptor))
    }
    artifact, task, classes = labelled.pop()
    if labelled or not artifact.startswith("sha256:") or task not in (CLASSIFY, EMBED, TENSOR, ANOMALY):
        raise OciError(
            f"{pinned} is not the container image of a function: the labels of its platforms name no artifact, or "
            "different ones",
            hint="build it with eaves package, which puts the same artifact into every platform's container image",
        )
    return FunctionImage(name=pinned, artifact_digest=artifact.removeprefix("sha256:"), task=task, classes=classes)

"""Signatures of container images in cosign's format: a manifest with the tag `sha256-HEX.sig` in the same repository.

Each of its layers is a payload, which names the signed digest, and carries the payload's signature as an annotation. No
transparency log is used: a verifier needs only the public key.

Source: sigstore/cosign, specs/SIGNATURE_SPEC.md; containers/image, docs/containers-signature.5.md (simple signing).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from eaves.base.strict_json import parse_json
from eaves.errors import OciError, OciNotFoundError, SignatureError
from eaves.oci.descriptor import (
    CONFIG,
    INDEXES,
    MANIFEST,
    Descriptor,
    build_descriptor,
    parse_descriptor,
    parse_document,
    render_document,
)
from eaves.oci.layers.image import load_images
from eaves.oci.reference import DEFAULT_HOST, Reference, parse_reference
from eaves.oci.sign.keys import PrivateKey, PublicKey
from eaves.oci.store.content_store import ContentSource, ContentTarget

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
TYPE = "cosign container image signature"
MAX_SIGNATURES = 100
"""Maximum number of signatures that are read for one container image."""
MAX_PAYLOAD_BYTES = 64 * 1024
_ZERO_TIME = "0001-01-01T00:00:00Z"
_COSIGN_HOST = "index.docker.io"
"""Host that cosign writes into a payload for Docker's own registry."""


class SignatureRepository(ContentSource, ContentTarget, Protocol):
    """A repository that signatures are read from and written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a signature's payload says about the signed container image.

    Attributes:
        digest: Digest that was signed.
        repository: Repository in the payload, HOST/REPOSITORY.
        annotations: Annotations that the signer added.
    """

    digest: str
    repository: str
    annotations: Mapping[str, str]


def sign(store: SignatureRepository, reference: Reference, descriptor: Descriptor, key: PrivateKey) -> list[Descriptor]:
    """Sign a container image: each platform's manifest, then the index over them.

    Both are signed, because a node checks the manifest of its own platform, and an admission policy checks the deployed
    digest.

    Args:
        store: Repository that has the container image and receives the signatures.
        reference: Host and repository, which become part of what is signed.
        descriptor: Descriptor of the manifest or index.
        key: Private key that signs.

    Returns:
        The descriptors that this call has signed, without those that this key had signed before.

    Raises:
        OciError: When the container image doesn't exist, or the repository refuses the signature.
    """
    images = [image.descriptor for image in load_images(store, descriptor)]
    wanted = images if descriptor.digest in {one.digest for one in images} else [*images, descriptor]
    return [one for one in wanted if _sign_one(store, reference, one, key)]


def find_signature(store: ContentSource, descriptor: Descriptor, key: PublicKey, repository: Reference) -> Signed:
    """Find the signature that a key made for a container image, and return the content of its payload.

    Args:
        store: Source that has the container image.
        descriptor: Descriptor of the container image's manifest or index, as the source resolved it.
        key: Public key of the required signer.
        repository: Repository that the signature must name, so that a signature for one repository isn't valid for
            another.

    Raises:
        SignatureError: When there is no signature by this key.
    """
    entries = list(_entries(_listed(store, descriptor.digest)))
    others = set()
    for entry in entries:
        payload, signature = _content(store, entry)
        if not key.matches(payload, signature):
            continue
        signed = parse_payload(payload)
        if signed.digest != descriptor.digest:
            others.add(f"for the digest {signed.digest[:80]!r}")
        elif _named(signed.repository) != (repository.host, repository.repository):
            others.add(f"for the name {signed.repository[:200]!r}")
        else:
            return signed
    if not entries:
        raise SignatureError(f"{descriptor.digest} is not signed", hint="sign the container image with `eaves sign`")
    if others:
        raise SignatureError(
            f"{descriptor.digest} has a signature by {key.id[:19]}, but it is {', '.join(sorted(others))}",
            hint="sign the container image under this name; for a mirror, name the original with --signed-as",
        )
    raise SignatureError(
        f"{descriptor.digest} is signed, but not by {key.id}",
        hint=("check that this is the key that the image was signed with"),
    )


def build_payload(reference: Reference, digest: str) -> bytes:
    """Return the payload that is signed for a container image, in exactly the bytes that cosign writes."""
    host = _COSIGN_HOST if reference.host == DEFAULT_HOST else reference.host
    values = {
        "critical": {
            "identity": {"docker-reference": f"{host}/{reference.repository}"},
            "image": {"docker-manifest-digest": digest},
            "type": TYPE,
        },
        "optional": None,
    }
    return json.dumps(values, separators=(",", ":")).encode()


def parse_payload(payload: bytes) -> Signed:
    """Parse a payload that a key signed.

    Raises:
        SignatureError: When the payload isn't about a container image, as keys may sign other content too.
    """
    try:
        values = parse_json(payload)
        critical, optional = values["critical"], values.get("optional") or {}
        digest, kind = critical["image"]["docker-manifest-digest"], critical["type"]
        repository = critical["identity"]["docker-reference"]
        if kind != TYPE or not isinstance(digest, str) or not isinstance(repository, str):
            raise TypeError(kind)
        annotations = {str(name): str(value) for name, value in optional.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignatureError(f"the key signed content that is not a container image: {error}"[:200]) from error
    return Signed(digest=digest, repository=repository, annotations=annotations)


def signature_tag(digest: str) -> str:
    """Return the tag of the manifest with a digest's signatures, `sha256-HEX.sig`."""
    return f"{digest.replace(':', '-')}.sig"


def _sign_one(store: SignatureRepository, reference: Reference, descriptor: Descriptor, key: PrivateKey) -> bool:
    before = _listed(store, descriptor.digest)
    payload = build_payload(reference, descriptor.digest)
    for entry in _entries(before):
        found, signature = _content(store, entry)
        if found == payload and key.public.matches(found, signature):
            return False
    if len(before) >= MAX_SIGNATURES:
        raise OciError(
            f"{descriptor.digest} already has {len(before)} signatures",
            hint=("remove signatures that are no longer needed"),
        )
    made = build_descriptor(payload, PAYLOAD, **{ANNOTATION: base64.b64encode(key.sign(payload)).decode()})
    layers = [*before, made.to_dict()]
    content = render_document(_build_config(layers))
    config = build_descriptor(content, CONFIG)
    for blob, data in ((made, payload), (config, content)):
        if not store.has(blob):
            store.write(blob, _Memory(data), lambda size: None)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_dict(), "layers": layers}
    manifest = render_document(document)
    store.write_manifest(build_descriptor(manifest, MANIFEST), manifest, signature_tag(descriptor.digest))
    return True


def _build_config(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the config of a manifest with signatures, as cosign writes it; it has no settings."""
    return {
        "architecture": "",
        "created": _ZERO_TIME,
        "history": [{"created": _ZERO_TIME} for _ in layers],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        "config": {},
    }


def _listed(store: ContentSource, digest: str) -> list[dict[str, Any]]:
    """Return the signatures of a digest as layers of a manifest, in JSON; none when there is no such manifest."""
    try:
        found = store.resolve(signature_tag(digest))
    except OciNotFoundError:
        return []
    layers = parse_document(store.read(found)).get("layers")
    if found.media_type in INDEXES or not isinstance(layers, list):
        raise SignatureError(
            f"the content of {signature_tag(digest)} is not a list of signatures",
            hint=("remove that tag from the registry"),
        )
    return layers


def _entries(layers: list[dict[str, Any]]) -> Iterator[Descriptor]:
    for layer in layers[:MAX_SIGNATURES]:
        entry = parse_descriptor(layer)
        if entry.media_type == PAYLOAD:
            yield entry


def _content(store: ContentSource, entry: Descriptor) -> tuple[bytes, bytes]:
    """Return the payload of a signature, verified against its digest, and the signature itself.

    A signature that isn't valid base64 is returned as empty bytes, which no key matches.
    """
    if entry.size > MAX_PAYLOAD_BYTES:
        raise SignatureError(
            f"the payload {entry.digest} of the signature has {entry.size} bytes; that is more than the limit"
        )
    try:
        signature = base64.b64decode(entry.annotations.get(ANNOTATION, ""), validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    return store.read(entry), signature


def _named(repository: str) -> tuple[str, str]:
    """Return host and repository in the name of a container image, without tag and digest.

    Both are empty when the name is malformed.
    """
    try:
        reference = parse_reference(repository)
    except OciError:
        return "", ""
    return reference.host, reference.repository


class _Memory:
    """A content source (`ContentSource`) with one piece of content, which is in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def resolve(self, name: str) -> Descriptor:
        raise OciNotFoundError(name)

    def read(self, descriptor: Descriptor) -> bytes:
        return self._content

    def open(
        self, descriptor: Descriptor, *, start: int = 0, poll: Callable[[], object] = lambda: None
    ) -> AbstractContextManager[BinaryIO]:
        return nullcontext(io.BytesIO(self._content[start:]))

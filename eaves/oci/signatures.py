"""Signing of container images by the program cosign, and verification of what it has signed in both of its formats.

- The format of cosign 1 and 2, which `eaves sign` asks for: a manifest with the tag `sha256-HEX.sig`, each of whose
  layers is a payload that names the signed digest and the repository, with the payload's signature as an annotation.
- The format of cosign 3: a bundle that refers to the signed manifest, with a signed statement, which names the digest
  only.

No transparency log is used: a verifier needs only the public key. By default cosign sends signature, public key and the
repository's name to a public one; `sign` forbids that, because an edge site can't reach it, and nothing leaves but what
its owner sends. Only this module imports `cryptography`.

Source: sigstore/cosign, specs/SIGNATURE_SPEC.md and specs/BUNDLE_SPEC.md; secure-systems-lab/dsse, protocol.md;
containers/image, docs/containers-signature.5.md (simple signing).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from eaves.base.strict_json import parse_json
from eaves.errors import OciError, OciNotFoundError, SignatureError
from eaves.oci.descriptor import INDEXES, Descriptor, Reference, parse_descriptor, parse_document, parse_reference
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
TYPE = "cosign container image signature"
BUNDLE = "application/vnd.dev.sigstore.bundle"
"""Start of the media type of a bundle; its version follows."""
STATEMENT = "application/vnd.in-toto+json"
PREDICATE = "https://sigstore.dev/cosign/sign/v1"
MAX_SIGNATURES = 100
"""Maximum number of signatures of each format that are read for one container image."""
_KEY_HINT = "make a key pair with `cosign generate-key-pair`"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """An ECDSA key on the curve P-256, which verifies signatures.

    Attributes:
        point: Key object of `cryptography`.
    """

    point: ec.EllipticCurvePublicKey

    @property
    def id(self) -> str:
        """Digest of the key's DER form, `sha256:` and 64 hex digits, which identifies the key."""
        encoded = self.point.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"sha256:{hashlib.sha256(encoded).hexdigest()}"

    def matches(self, payload: bytes, signature: bytes) -> bool:
        """Return whether a signature (DER) of a payload was made by the private key of this public key."""
        try:
            self.point.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def load_public_key(path: Path) -> PublicKey:
    """Read a public key from a PEM file.

    Raises:
        OciError: When the file has no public key, or one that isn't ECDSA on P-256.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OciError(f"the key {path} can't be read: {error.strerror}", hint=_KEY_HINT) from error
    if b"PRIVATE KEY" in content:
        raise OciError(
            f"{path} is a private key",
            hint="give the public key, for example cosign.pub; signatures are verified with it",
        )
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OciError(
            f"{path} is not a public key in PEM form: {error}"[:300], hint="give the .pub file of the key pair"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OciError(f"{path} is not an ECDSA P-256 key", hint=_KEY_HINT)
    return PublicKey(point=key)


class Signed(NamedTuple):
    """What a signature says about the signed container image.

    Attributes:
        digest: Digest that was signed.
        repository: Repository that was signed, HOST/REPOSITORY; empty in the format of cosign 3, which signs none.
    """

    digest: str
    repository: str = ""


Signature = tuple[bytes, bytes, Callable[[], Signed]]
"""One signature at the registry: the bytes that were signed, the signature in DER, which is empty when it isn't valid
base64, so that no key matches it, and a function that parses what was signed."""


def find_signature(store: Registry, descriptor: Descriptor, key: PublicKey, repository: Reference) -> Signed:
    """Find the signature that a key made for a container image, and return what it says.

    Args:
        store: Registry that has the container image.
        descriptor: Descriptor of the container image's manifest or index, as the registry resolved it.
        key: Public key of the required signer.
        repository: Repository that the signature must name where its format names one, so that a signature for one
            repository isn't valid for another.

    Raises:
        SignatureError: When there is no signature by this key.
    """
    others = set()
    signatures = [*_tagged_signatures(store, descriptor), *_bundles(store, descriptor)]
    for content, value, parse in signatures:
        if not key.matches(content, value):
            continue
        signed = parse()
        if signed.digest != descriptor.digest:
            others.add(f"for the digest {signed.digest[:80]!r}")
        elif signed.repository and _named(signed.repository) != (repository.host, repository.repository):
            others.add(f"for the name {signed.repository[:200]!r}")
        else:
            return signed
    if not signatures:
        raise SignatureError(f"{descriptor.digest} is not signed", hint="sign the container image with `eaves sign`")
    if others:
        raise SignatureError(
            f"{descriptor.digest} has a signature by {key.id[:19]}, but it is {', '.join(sorted(others))}",
            hint="sign the container image under this name; for a mirror, name the original with --signed-as",
        )
    raise SignatureError(
        f"{descriptor.digest} is signed, but not by {key.id}",
        hint="check that this is the key that the image was signed with",
    )


def parse_payload(payload: bytes) -> Signed:
    """Parse a payload in the format of cosign 1 and 2 that a key signed.

    Raises:
        SignatureError: When the payload isn't about a container image, as keys may sign other content too.
    """
    try:
        values = parse_json(payload)
        critical = values["critical"]
        digest, kind = critical["image"]["docker-manifest-digest"], critical["type"]
        repository = critical["identity"]["docker-reference"]
        if kind != TYPE or not isinstance(digest, str) or not isinstance(repository, str) or not repository:
            raise TypeError(kind)
        return Signed(digest, repository)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignatureError(f"the key signed content that is not a container image: {error}"[:200]) from error


def parse_statement(payload: bytes) -> Signed:
    """Parse a statement in the format of cosign 3 that a key signed.

    Raises:
        SignatureError: When the statement isn't the signature of one container image; an attestation is another kind.
    """
    try:
        values = parse_json(payload)
        (subject,) = values["subject"]
        digest = subject["digest"]["sha256"]
        if values["predicateType"] != PREDICATE or not isinstance(digest, str):
            raise TypeError(values["predicateType"])
        return Signed(f"sha256:{digest}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignatureError(f"the key signed content that is not a container image: {error}"[:200]) from error


def signature_tag(digest: str) -> str:
    """Return the tag of the manifest with a digest's signatures, `sha256-HEX.sig`."""
    return f"{digest.replace(':', '-')}.sig"


def _tagged_signatures(store: Registry, descriptor: Descriptor) -> Iterator[Signature]:
    tag = signature_tag(descriptor.digest)
    try:
        found = store.resolve(tag)
    except OciNotFoundError:
        return
    layers = parse_document(store.read(found)).get("layers")
    if found.media_type in INDEXES or not isinstance(layers, list):
        raise SignatureError(
            f"the content of {tag} is not a list of signatures", hint="remove that tag from the registry"
        )
    for layer in layers[:MAX_SIGNATURES]:
        entry = parse_descriptor(layer)
        if entry.media_type == PAYLOAD:
            payload = store.read(entry)
            yield payload, _decode(entry.annotations.get(ANNOTATION, "")), partial(parse_payload, payload)


def _bundles(store: Registry, descriptor: Descriptor) -> Iterator[Signature]:
    for referrer in store.referrers(descriptor.digest)[:MAX_SIGNATURES]:
        layers = parse_document(store.read(referrer)).get("layers")
        for layer in layers[:1] if isinstance(layers, list) else []:
            entry = parse_descriptor(layer)
            if entry.media_type.startswith(BUNDLE):
                yield from _parse_bundle(store.read(entry))


def _parse_bundle(content: bytes) -> Iterator[Signature]:
    """Yield the signatures of a bundle's statement; none of a bundle that holds another kind of signature."""
    try:
        envelope = parse_json(content)["dsseEnvelope"]
        payload, kind = _decode(envelope["payload"]), envelope["payloadType"]
        values = [_decode(one["sig"]) for one in envelope["signatures"]]
        if parse_json(payload)["predicateType"] != PREDICATE or kind != STATEMENT:
            return
    except (ValueError, KeyError, TypeError):
        return
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    for value in values:
        yield signed, value, partial(parse_statement, payload)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _named(repository: str) -> tuple[str, str]:
    """Return host and repository in the name of a container image; both are empty when the name is malformed."""
    try:
        reference = parse_reference(repository)
    except OciError:
        return "", ""
    return reference.host, reference.repository


def sign(reference: Reference, key: str, access: Access) -> None:
    """Sign a container image and each of its platforms' manifests, in the format of cosign 2.

    cosign asks for the key's password on the terminal, or takes it from COSIGN_PASSWORD, and reports on stderr.

    Args:
        reference: The container image, by digest.
        key: File of the private key, or the name of a key in a service that cosign knows.
        access: Connection settings of registries; cosign reads the same file with logins.

    Raises:
        OciError: When cosign isn't installed, or when it fails.
    """
    program = shutil.which("cosign")
    if program is None:
        raise OciError(
            "signing needs the program cosign, which is not installed",
            hint="install cosign 2 or 3: `apt install cosign`, or a release of sigstore/cosign",
        )
    command = [program, "sign", "--yes", "--recursive", "--tlog-upload=false", f"--key={key}"]
    known = subprocess.run([program, "sign", "--help"], capture_output=True, text=True, check=False).stdout
    if "--use-signing-config" in known:
        # cosign 3, which would write bundles: they don't sign the repository's name, and fewer verifiers read them.
        command += ["--new-bundle-format=false", "--use-signing-config=false"]
    if access.plain_http:
        command.append("--allow-http-registry")
    if access.authorities:
        command.append(f"--registry-cacert={access.authorities}")
    done = subprocess.run([*command, str(reference)], stdout=sys.__stderr__, check=False)
    if done.returncode:
        raise OciError(
            f"cosign did not sign {reference}; the lines above have its reason",
            hint="check the key, its password (COSIGN_PASSWORD), and your right to push to this repository",
        )

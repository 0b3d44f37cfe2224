"""Descriptors (media type, size and digest of a piece of content) and references (names of container images).

Source: OCI image-spec, descriptor.md; distribution/reference (grammar in reference.go, familiar names in normalize.go).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from eaves.base.strict_json import parse_json
from eaves.errors import OciError

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = frozenset({INDEX, DOCKER_LIST})
MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})
OF_DOCKER = {
    DOCKER_LIST: INDEX,
    DOCKER_MANIFEST: MANIFEST,
    "application/vnd.docker.container.image.v1+json": CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
}
"""Docker's media type to OCI's media type for the same content."""
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""Maximum size of a manifest, an index or a config in bytes; registries accept no larger ones."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
DEFAULT_HOST = "docker.io"
_OLD_HOST = "index.docker.io"
DEFAULT_API_HOST = "registry-1.docker.io"
DEFAULT_TAG = "latest"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
MAX_REPOSITORY = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlatform:
    """The operating system and architecture that a container image runs on, with the names that Go uses.

    Variants are left out: of the architectures for which there are wheels, `arm64` has one only.

    Attributes:
        architecture: Architecture such as `amd64` or `arm64`.
        os: Operating system, `linux`.
    """

    architecture: str
    os: str = "linux"

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


def parse_image_platform(text: str) -> ImagePlatform:
    """Parse a platform such as `linux/arm64`.

    Raises:
        OciError: When the text has another form.
    """
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):
        raise OciError(
            f"a platform must be OS/ARCHITECTURE (got {text[:40]!r})",
            hint="name linux/amd64 or linux/arm64, for example",
        )
    return ImagePlatform(os=parts[0], architecture=parts[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """The descriptor of a piece of content.

    Attributes:
        media_type: Media type of the content.
        digest: Digest of the content, `sha256:` and 64 hex digits.
        size: Size in bytes.
        annotations: Annotations of the content, such as its title or creation date.
        platform: Platform of a manifest in an index.
    """

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: ImagePlatform | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the descriptor as plain data for JSON."""
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
            **({"platform": asdict(self.platform)} if self.platform else {}),
        }


def parse_descriptor(values: Any) -> Descriptor:
    """Parse a descriptor from an untrusted document.

    Raises:
        OciError: When the descriptor is malformed.
    """
    try:
        digest, size, media_type = values["digest"], values["size"], values["mediaType"]
        annotations, found = values.get("annotations") or {}, values.get("platform")
        platform = found and ImagePlatform(architecture=str(found["architecture"]), os=str(found["os"]))
        texts = [media_type, *annotations, *annotations.values()]
    except (KeyError, TypeError, AttributeError) as error:
        raise OciError(f"an OCI descriptor is malformed: {error!r}"[:200]) from error
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise OciError(f"the digest of an OCI descriptor must be sha256 in hex (got {str(digest)[:80]!r})")
    if type(size) is not int or size < 0 or not all(isinstance(text, str) for text in texts):
        raise OciError(f"the OCI descriptor of {digest} is malformed")
    return Descriptor(
        media_type=media_type, digest=digest, size=size, annotations=annotations, platform=platform or None
    )


def build_descriptor(content: bytes, media_type: str, **annotations: str) -> Descriptor:
    """Return the descriptor of content in memory."""
    return Descriptor(media_type=media_type, digest=digest_of(content), size=len(content), annotations=annotations)


def digest_of(content: bytes) -> str:
    """Return the SHA-256 digest of content, in the form that the specification requires."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def render_document(values: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest, an index or a config; equal values give equal bytes."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse_document(content: bytes) -> dict[str, Any]:
    """Parse a manifest, an index or a config.

    Raises:
        OciError: When the content is no JSON object.
    """
    try:
        values = parse_json(content)
    except ValueError as error:
        raise OciError(f"an OCI manifest is not JSON: {error}"[:200]) from error
    if not isinstance(values, dict):
        raise OciError("an OCI manifest must be a JSON object")
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The name of one container image at a registry.

    Attributes:
        host: Host of the registry, with its port.
        repository: Repository at the registry.
        tag: Tag, or empty.
        digest: Digest, or empty; it takes precedence over the tag.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def api_host(self) -> str:
        """Host of the registry's API, which for Docker's own registry differs from the host in the name."""
        return DEFAULT_API_HOST if self.host == DEFAULT_HOST else self.host

    @property
    def name(self) -> str:
        """Digest of the reference, otherwise its tag, with which the registry is asked for the manifest."""
        return self.digest or self.tag or DEFAULT_TAG

    def pinned(self, digest: str) -> Reference:
        """Return the same reference with a digest."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Parse the name of a container image.

    Raises:
        OciError: When the name is malformed.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _build_error(text, "its digest must be sha256: and 64 hex digits")
    first, slash, others = rest.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, others) if named else (DEFAULT_HOST, rest)
    if host in (DEFAULT_HOST, _OLD_HOST):
        host, named = DEFAULT_HOST, False
    path, colon, tag = path.partition(":")
    if not named and "/" not in path:
        path = f"library/{path}"
    if colon and not _TAG.fullmatch(tag):
        raise _build_error(text, "its tag must be letters, digits, `_`, `.` and `-`, at most 128")
    if not _HOST.fullmatch(host):
        raise _build_error(text, f"{host[:80]!r} is not a host")
    if not _REPOSITORY.fullmatch(path) or len(path) > MAX_REPOSITORY:
        raise _build_error(text, "its repository must be lower-case letters, digits, `.`, `_`, `-` and `/`")
    return Reference(host=host, repository=path, tag=tag, digest=digest)


def _build_error(text: str, why: str) -> OciError:
    return OciError(
        f"{text[:200]!r} is not the name of a container image: {why}", hint="write the name as in HOST/site/flowers:v1"
    )

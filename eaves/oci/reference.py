"""Names of container images, HOST/REPOSITORY:TAG@DIGEST, and short forms such as `python:3.13`.

Source: distribution/reference (grammar in reference.go, familiar names in normalize.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from eaves.errors import OciError

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
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MAX_REPOSITORY = 255


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
        raise _wrong(text, "its digest must be sha256: and 64 hex digits")
    first, slash, others = rest.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, others) if named else (DEFAULT_HOST, rest)
    if host in (DEFAULT_HOST, _OLD_HOST):
        host, named = DEFAULT_HOST, False
    path, colon, tag = path.partition(":")
    if not named and "/" not in path:
        path = f"library/{path}"
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, "its tag must be letters, digits, `_`, `.` and `-`, at most 128")
    if not _HOST.fullmatch(host):
        raise _wrong(text, f"{host[:80]!r} is not a host")
    if not _REPOSITORY.fullmatch(path) or len(path) > MAX_REPOSITORY:
        raise _wrong(text, "its repository must be lower-case letters, digits, `.`, `_`, `-` and `/`")
    return Reference(host=host, repository=path, tag=tag, digest=digest)


def _wrong(text: str, why: str) -> OciError:
    return OciError(
        f"{text[:200]!r} is not the name of a container image: {why}", hint="write the name as in HOST/site/flowers:v1"
    )

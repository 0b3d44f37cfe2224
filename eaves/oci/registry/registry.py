"""A registry over HTTP, for reading and writing container images.

oras, the Python library for this, reads each blob into memory, can't mount, can't resume a broken upload and keeps one
token for all repositories. Therefore this module makes the requests itself.

Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode

from eaves.errors import OciError, OciNotFoundError, RegistryError
from eaves.http_client.client import HttpAnswer
from eaves.oci.descriptor import (
    INDEXES,
    MANIFESTS,
    Descriptor,
    Reference,
    digest_of,
    parse_descriptor,
    parse_document,
)
from eaves.oci.layout import ContentSource, Progress, read_document, verified
from eaves.oci.registry.authentication import PassingError
from eaves.oci.registry.download import Download
from eaves.oci.registry.transport import Access, RegistryTransport

TAGS_A_PAGE = 1000
PART_BYTES = 1 << 14
"""Size of the parts in which a blob is sent. The time limit for sending applies to each part separately."""
_OCTETS = {"Content-Type": "application/octet-stream"}
_ACCEPTED = frozenset({201, 202, 204})
"""Statuses of a PATCH that was accepted. The specification has 202; Google answers 204 and Amazon 201. Source:
containerd/containerd#1318, dotnet/sdk#33336."""
_STORED = frozenset({201, 204})
"""Statuses of a PUT after which the registry has the blob."""
_PULL, _PUSH = "pull", "pull,push"


class Registry(RegistryTransport):
    """One repository of a registry, as a `ContentSource` and a `ContentTarget`.

    Args:
        reference: Host and repository.
        access: Settings for reaching registries.

    Raises:
        OciError: When the file with certificate authorities can't be read.
    """

    def __init__(self, reference: Reference, access: Access) -> None:
        super().__init__(reference, access)
        self._base = f"{self._root}{reference.repository}/"

    def resolve(self, name: str) -> Descriptor:
        """Return the descriptor of the manifest or index that a tag or digest names.

        Raises:
            OciNotFoundError: When the repository has no such tag or digest.
            OciError: When the content is neither a manifest nor an index, or doesn't match the digest.
            RegistryError: When the registry fails.
        """
        content, media_type = self._manifest(name)
        return Descriptor(media_type=media_type, digest=digest_of(content), size=len(content))

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the content of a manifest, an index or a config, after verifying its digest.

        Raises:
            OciError: When the content doesn't exist or doesn't match the descriptor.
        """
        if descriptor.media_type in INDEXES | MANIFESTS:
            return self._manifest(descriptor.digest, descriptor.media_type)[0]
        return read_document(self, descriptor)

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """Open a blob as a stream, which resumes after an interruption and waits while the registry is out of reach.

        Raises:
            OciNotFoundError: When the blob doesn't exist.
            RegistryError: When the registry fails, or is out of reach for longer than `Access.outage_s`.
        """
        url, what = f"{self._base}blobs/{descriptor.digest}", self._where(descriptor.digest)
        with closing(Download(self, url, self._scope(_PULL), what, descriptor.size)) as stream:
            yield cast("BinaryIO", stream)

    def tags(self) -> Iterator[str]:
        """Yield every tag of the repository, page by page; none when the repository doesn't exist yet.

        Raises:
            RegistryError: When the registry fails.

        Source: OCI distribution-spec, "Content Discovery".
        """
        last = ""
        while True:
            url = f"{self._base}tags/list?{urlencode({'n': TAGS_A_PAGE, **({'last': last} if last else {})})}"
            answer = self._send("GET", url, _PULL, "", {200, 404})
            if answer.status == 404:
                return
            tags = parse_document(answer.body).get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise RegistryError(f"{self._where('')}: the registry's list of tags is malformed")
            yield from tags
            if not tags or not answer.headers.get("link") or tags[-1] == last:
                return
            last = tags[-1]

    def referrers(self, digest: str) -> list[Descriptor]:
        """Return the manifests that refer to a digest, such as bundles with signatures.

        A registry without this request has them in an index under the tag `sha256-HEX`.

        Raises:
            RegistryError: When the registry fails.

        Source: OCI distribution-spec, "Listing Referrers".
        """
        answer = self._send("GET", f"{self._base}referrers/{digest}", _PULL, digest, {200, 400, 404, 405})
        content = answer.body
        if answer.status != 200:
            try:
                content, _ = self._manifest(digest.replace(":", "-"))
            except OciNotFoundError:
                return []
        entries = parse_document(content).get("manifests") or []
        return [parse_descriptor(entry) for entry in entries]

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the repository has a blob.

        Raises:
            RegistryError: When the registry fails.
        """
        # The request asks for the right to push, because some registries hide a repository that doesn't exist yet from
        # other clients.
        url = f"{self._base}blobs/{descriptor.digest}"
        return self._send("HEAD", url, _PUSH, descriptor.digest, {200, 404}).status == 200

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Mount a blob from another repository of the same registry; return whether that succeeded."""
        url = f"{self._base}blobs/uploads/?{urlencode({'mount': descriptor.digest, 'from': other})}"
        scope = f"{self._scope(_PUSH)} repository:{other}:{_PULL}"
        try:
            answer = self.retry(lambda: self.once("POST", url, scope, self._where(""), range(200, 500), body=b""))
        except RegistryError:
            return False  # a user who may not read there, or a registry that fails to mount, may still take an upload
        return answer.status == 201

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
        """Upload a blob as docker, podman and skopeo send it: one PATCH with the whole content, then a PUT.

        Every registry accepts that, while GitHub's refuses a chunk of more than 4 MiB, Google's refuses every chunk and
        JFrog's keeps only the last one. An upload that breaks off is sent again as a whole.

        Args:
            descriptor: Descriptor of the blob.
            source: Source that has the blob.
            progress: Function that is called with the size of each part that was sent, with a negative size when bytes
                are sent again. An exception from it ends the upload.

        Raises:
            OciError: When the source's content doesn't match the descriptor, or the registry refuses the upload.

        Source: OCI distribution-spec 1.1, "Pushing blobs"; aws/containers-roadmap#2831; wasmCloud/wasmCloud#3405.
        """
        sent: list[int] = []
        try:
            self.retry(lambda: self._upload(descriptor, source, progress, sent))
        except PassingError as error:
            raise RegistryError(
                f"the upload of {descriptor.digest} stopped: {error.message}"[:400],
                hint="push again; content that has arrived completely is not sent again",
            ) from error

    def _upload(self, descriptor: Descriptor, source: ContentSource, progress: Progress, sent: list[int]) -> None:
        """Upload a blob once, and note the size of each part that was sent in `sent`.

        Raises:
            PassingError: When sending the content again may succeed.
        """
        what, scope = f"the upload of {descriptor.digest}", self._scope(_PUSH)
        failures: list[Exception] = []

        def content() -> Generator[bytes]:
            progress(-sum(sent))
            sent.clear()
            try:
                with source.open(descriptor) as stream:
                    for piece in verified(stream, descriptor):
                        for at in range(0, len(piece), PART_BYTES):
                            part = piece[at : at + PART_BYTES]
                            sent.append(len(part))
                            progress(len(part))
                            yield part
            except (OSError, RegistryError) as error:  # which would count as the connection's
                failures.append(error)
                raise

        place = self._begin_upload()
        if descriptor.size:
            headers = {**_OCTETS, "Content-Length": str(descriptor.size)}
            try:
                answer = self.once("PATCH", place, scope, what, _ACCEPTED, body=content, headers=headers)
            except RegistryError:
                if failures:
                    raise failures[0] from None
                raise
            place = self._follow(place, answer.headers.get("location", ""))
        place += f"{'&' if '?' in place else '?'}{urlencode({'digest': descriptor.digest})}"
        self.once("PUT", place, scope, what, _STORED, body=b"", headers=_OCTETS)

    def _begin_upload(self) -> str:
        """Start an upload; return its URL."""
        url, where = f"{self._base}blobs/uploads/", self._where("")
        answer = self.once("POST", url, self._scope(_PUSH), f"an upload to {where}", {202, 404}, body=b"")
        if answer.status == 404:
            raise OciNotFoundError(
                f"{where} accepts no uploads",
                hint="create the repository or its project at the registry, or check the name",
            )
        if not answer.headers.get("location"):
            raise RegistryError(f"{where} started an upload without an address for it", hint="use another registry")
        return self._follow(url, answer.headers["location"])

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Upload a manifest or index, under a tag when `name` is given, otherwise by its digest only.

        Raises:
            RegistryError: When the registry refuses the manifest.
        """
        name = name or descriptor.digest
        headers = {"Content-Type": descriptor.media_type}
        self._send("PUT", f"{self._base}manifests/{name}", _PUSH, name, {201}, body=content, headers=headers)

    def _manifest(self, name: str, media_type: str = "") -> tuple[bytes, str]:
        """Fetch a manifest or index by its tag or digest, perhaps of a known media type; return content and type.

        The media types in the header and in the content must be the same, so that an index can't be read as a manifest
        or a manifest as an index.
        """
        accept = {"Accept": ", ".join(sorted(INDEXES | MANIFESTS))}
        answer = self._send("GET", f"{self._base}manifests/{name}", _PULL, name, {200}, headers=accept)
        declared = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if declared not in INDEXES | MANIFESTS:
            raise OciError(
                f"{self._where(name)} is not a container image but a {declared[:80] or 'document without a type'}",
                hint="check the name; push images of the old Docker format again with a current tool",
            )
        is_altered = name.startswith("sha256:") and name != digest_of(answer.body)
        if is_altered or media_type not in ("", declared):
            raise OciError(
                f"{self._where(name)}: the registry answered with other content than the digest names",
                hint="the content was altered; push the container image again",
            )
        values = parse_document(answer.body)
        both = "manifests" in values and ("layers" in values or "config" in values)
        if values.get("mediaType", declared) != declared or both or (declared in INDEXES) != ("manifests" in values):
            raise OciError(f"{self._where(name)} is declared as {declared}, but its content is of another type")
        return answer.body, declared

    def _scope(self, rights: str) -> str:
        return f"repository:{self._reference.repository}:{rights}"

    def _where(self, name: str) -> str:
        mark = "@" if name.startswith("sha256:") else ":" if name else ""
        return f"{self._reference.host}/{self._reference.repository}{mark}{name}"

    def _send(
        self, method: str, url: str, rights: str, name: str, wanted: Collection[int], **options: Any
    ) -> HttpAnswer:
        scope, what = self._scope(rights), self._where(name)
        return self.retry(lambda: self.once(method, url, scope, what, wanted, **options))

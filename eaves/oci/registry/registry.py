"""A registry over HTTP, for reading and writing container images.

oras, the Python library for this, reads each blob into memory, can't mount, can't resume a broken upload and keeps one
token for all repositories. Therefore this module makes the requests itself, with urllib3's connection pools and time
limits.

Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import BinaryIO, cast
from urllib.parse import urlencode

from eaves.errors import AccessError, OciError, OciNotFoundError, RegistryError
from eaves.oci.descriptor import INDEXES, MANIFESTS, MAX_DOCUMENT_BYTES, Descriptor, digest_of, parse_document
from eaves.oci.reference import Reference
from eaves.oci.registry.download import Download
from eaves.oci.registry.response import RegistryResponse, require_status
from eaves.oci.registry.transport import AGAIN, MAX_PAUSE_S, Access, RegistryTransport, follow
from eaves.oci.store.content_store import ContentSource, Progress, verified

__all__ = ["Access", "Registry"]
UPLOAD_CHUNK_BYTES = 8 * 1024 * 1024
TAGS_A_PAGE = 1000
MAX_CHUNK_BYTES = 64 * 1024 * 1024
_PULL, _PUSH = "pull", "pull,push"


class Registry:
    """One repository of a registry, as a `ContentSource` and a `ContentTarget`. Thread-safe.

    Args:
        reference: Host and repository.
        access: Settings for reaching registries.

    Raises:
        OciError: When the file with certificate authorities can't be read.
    """

    def __init__(self, reference: Reference, access: Access) -> None:
        self._reference = reference
        self._transport = RegistryTransport(reference, access)
        self._base = f"{self._transport.root}{reference.repository}/"

    def resolve(self, name: str) -> Descriptor:
        """Return the descriptor of the manifest or index that a tag or digest names.

        Raises:
            OciNotFoundError: When the repository has no such tag or digest.
            OciError: When the content is neither a manifest nor an index, or doesn't match the digest.
            RegistryError: When the registry fails.
        """
        content, media_type = self._manifest(name)
        digest = digest_of(content)
        if name.startswith("sha256:") and name != digest:
            raise OciError(
                f"{self._where(name)}: the registry answered with other content than the digest names",
                hint=("the content was altered; push the container image again"),
            )
        return Descriptor(media_type=media_type, digest=digest, size=len(content))

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the content of a manifest, an index or a config, after verifying its digest.

        Raises:
            OciError: When the content doesn't exist or doesn't match the descriptor.
        """
        if descriptor.media_type in INDEXES | MANIFESTS:
            content, media_type = self._manifest(descriptor.digest)
            found = (digest_of(content), len(content), media_type)
            if found != (descriptor.digest, descriptor.size, descriptor.media_type):
                raise OciError(
                    f"{self._where(descriptor.digest)}: the registry answered with other content than the digest names",
                    hint=("the content was altered; push the container image again"),
                )
            return content
        if descriptor.size > MAX_DOCUMENT_BYTES:
            raise OciError(f"the document {descriptor.digest} has {descriptor.size} bytes; that is more than the limit")
        with self.open(descriptor) as stream:
            return b"".join(verified(stream, descriptor))

    @contextmanager
    def open(
        self, descriptor: Descriptor, *, start: int = 0, poll: Callable[[], object] = lambda: None
    ) -> Iterator[BinaryIO]:
        """Open a blob as a stream, which resumes after an interruption and waits while the registry is out of reach.

        Args:
            descriptor: Descriptor of the blob.
            start: Offset of the first byte to read.
            poll: Function that is called several times a second while no bytes arrive; an exception from it ends the
                reading.

        Raises:
            OciNotFoundError: When the blob doesn't exist.
            RegistryError: When the registry fails, or is out of reach for longer than `Access.outage_s`.
        """
        url, what = f"{self._base}blobs/{descriptor.digest}", self._where(descriptor.digest)
        size, scope = descriptor.size, self._scope(_PULL)
        with closing(Download(self._transport, url, scope, what, size=size, start=start, poll=poll)) as stream:
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
            answer = self._ask("GET", url, _PULL)
            if answer.status == 404:
                return
            require_status(answer, {200}, self._where(""))
            tags = parse_document(answer.content).get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise RegistryError(f"{self._where('')}: the registry's list of tags is malformed")
            yield from tags
            if not tags or not answer.headers.get("Link") or tags[-1] == last:
                return
            last = tags[-1]

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the repository has a blob.

        Raises:
            RegistryError: When the registry fails.
        """
        # The request asks for the right to push, because some registries hide a repository that doesn't exist yet from
        # other clients.
        answer = self._ask("HEAD", f"{self._base}blobs/{descriptor.digest}", _PUSH)
        if answer.status == 404:
            return False
        require_status(answer, {200}, self._where(descriptor.digest))
        return True

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Mount a blob from another repository of the same registry; return whether that succeeded."""
        url = f"{self._base}blobs/uploads/?{urlencode({'mount': descriptor.digest, 'from': other})}"
        try:
            answer = self._transport.send("POST", url, f"{self._scope(_PUSH)} repository:{other}:{_PULL}", body=b"")
        except AccessError:
            return False  # a user who may not read there may still write here
        if answer.status == 202 and answer.headers.get("Location"):  # an upload that isn't wanted
            with suppress(RegistryError):
                self._transport.once("DELETE", self._place(answer, url), self._scope(_PUSH))
        return answer.status == 201

    def write(self, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
        """Upload a blob in chunks; an interrupted upload resumes where the registry says that it stopped.

        Raises:
            OciError: When the source's content doesn't match the descriptor, or the registry refuses the upload.
        """
        for last, _ in self._transport.pauses():
            counted = _Counted(progress)
            try:
                self._upload(descriptor, source, counted)
            except _ForgottenError:  # docker-registry up to 2.8 forgets an upload whose chunk was interrupted
                if last:
                    raise
                progress(-counted.bytes)
            else:
                return

    def _upload(self, descriptor: Descriptor, source: ContentSource, progress: Progress) -> None:
        place, chunk_bytes = self._begin()
        with source.open(descriptor, poll=lambda: progress(0)) as stream:
            sent = 0
            for chunk in _chunks(verified(stream, descriptor), chunk_bytes):
                place = self._send(place, chunk, sent, descriptor, progress)
                sent += len(chunk)
        mark = "&" if "?" in place else "?"
        answer = self._ask("PUT", f"{place}{mark}{urlencode({'digest': descriptor.digest})}", _PUSH, body=b"")
        if answer.status == 404 and self.has(descriptor):
            return  # it was complete, and only that response was lost
        require_status(answer, {201, 204}, f"the upload of {descriptor.digest}")

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Upload a manifest or index, under a tag when `name` is given, otherwise by its digest only.

        Raises:
            RegistryError: When the registry refuses the manifest.
        """
        url = f"{self._base}manifests/{name or descriptor.digest}"
        answer = self._ask("PUT", url, _PUSH, body=content, headers={"Content-Type": descriptor.media_type})
        require_status(answer, {201}, self._where(name or descriptor.digest))

    def _manifest(self, name: str) -> tuple[bytes, str]:
        """Fetch a manifest or index by its tag or digest; return its content and media type.

        The media types in the header and in the content must be the same, so that an index can't be read as a manifest
        or a manifest as an index.
        """
        accept = {"Accept": ", ".join(sorted(INDEXES | MANIFESTS))}
        answer = self._ask("GET", f"{self._base}manifests/{name}", _PULL, headers=accept)
        require_status(answer, {200}, self._where(name))
        declared = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if declared not in INDEXES | MANIFESTS:
            raise OciError(
                f"{self._where(name)} is not a container image but a {declared[:80] or 'document without a type'}",
                hint="check the name; push images of the old Docker format again with a current tool",
            )
        values = parse_document(answer.content)
        both = "manifests" in values and ("layers" in values or "config" in values)
        if values.get("mediaType", declared) != declared or both or (declared in INDEXES) != ("manifests" in values):
            raise OciError(f"{self._where(name)} is declared as {declared}, but its content is of another type")
        return answer.content, declared

    def _begin(self) -> tuple[str, int]:
        """Start an upload; return its URL and the size of its chunks in bytes."""
        url = f"{self._base}blobs/uploads/"
        answer = self._ask("POST", url, _PUSH, body=b"")
        if answer.status == 404:
            raise OciNotFoundError(
                f"{self._where('')} accepts no uploads",
                hint="create the repository or its project at the registry, or check the name",
            )
        require_status(answer, {202}, f"an upload to {self._where('')}")
        if not answer.headers.get("Location"):
            raise RegistryError(
                f"{self._where('')} started an upload without an address for it", hint="use another registry"
            )
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        wanted = int(least) if least.isascii() and least.isdecimal() and len(least) < 12 else 0
        return self._place(answer, url), min(max(wanted, UPLOAD_CHUNK_BYTES), MAX_CHUNK_BYTES)

    def _send(self, place: str, chunk: bytes, start: int, descriptor: Descriptor, progress: Progress) -> str:
        """Upload one chunk of a blob; return the URL for the next chunk."""
        done, fault = 0, ""
        for _, pause_s in self._transport.pauses():
            counted = _Counted(progress)
            try:
                answer = self._patch(place, chunk[done:], start + done, counted)
            except RegistryError as error:
                if isinstance(error, AccessError):
                    raise
                fault, wait_s = str(error), pause_s
            else:
                if answer.status in (202, 204):
                    return self._place(answer, place)
                if answer.status not in AGAIN | {416}:
                    require_status(answer, {202}, f"a chunk of {descriptor.digest}")
                fault, wait_s = f"the registry answered {answer.status}", answer.wait_s(pause_s)
                if wait_s > MAX_PAUSE_S:
                    break
            time.sleep(wait_s)
            place, got = self._received(place, start)
            if not start <= got <= start + len(chunk):
                raise _ForgottenError(
                    f"the registry lost the uploaded part of {descriptor.digest} ({fault})"[:400],
                    hint=("push the container image again"),
                )
            kept, done = got - start - done, got - start
            progress(kept - counted.bytes)
            if done == len(chunk):
                return place
        raise RegistryError(
            f"the upload of {descriptor.digest} stopped at byte {start + done}: {fault}"[:400],
            hint="push again; content that has arrived completely is not sent again",
        )

    def _patch(self, place: str, content: bytes, start: int, progress: Progress) -> RegistryResponse:
        headers = {
            "Content-Range": f"{start}-{start + len(content) - 1}",
            "Content-Type": "application/octet-stream",
        }
        return self._transport.once(
            "PATCH", place, self._scope(_PUSH), body=content, headers=headers, progress=progress
        )

    def _received(self, place: str, start: int) -> tuple[str, int]:
        """Ask the registry how much of an upload it has; return the URL and the offset at which to continue.

        The offset is -1 when the registry no longer knows the upload.
        """
        answer = self._ask("GET", place, _PUSH)
        last = answer.headers.get("Range", "0-0").rpartition("-")[2]
        known = answer.status == 204 and last.isascii() and last.isdecimal() and len(last) < 20
        if start == 0 and (not known or last == "0"):  # `0-0` means one byte or none, and starting again loses nothing
            return self._begin()[0], 0
        if not known:
            return place, -1
        return self._place(answer, place), int(last) + 1

    def _place(self, answer: RegistryResponse, url: str) -> str:
        """Return the URL at which an upload continues: the Location header, otherwise the URL of the request."""
        return follow(url, answer.headers.get("Location", ""))

    def _scope(self, rights: str) -> str:
        return f"repository:{self._reference.repository}:{rights}"

    def _where(self, name: str) -> str:
        mark = "@" if name.startswith("sha256:") else ":" if name else ""
        return f"{self._reference.host}/{self._reference.repository}{mark}{name}"

    def _ask(
        self, method: str, url: str, rights: str, *, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> RegistryResponse:
        return self._transport.send(method, url, self._scope(rights), body=body, headers=headers)


class _ForgottenError(RegistryError):
    """Error of an upload that the registry no longer knows, so that it must start again."""


class _Counted:
    """A progress function that passes sizes on to another one and keeps their sum."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.bytes = 0

    def __call__(self, size: int) -> None:
        self.bytes += size
        self._progress(size)


def _chunks(pieces: Iterator[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """Join pieces of content into chunks of `chunk_bytes` bytes; the last chunk may be smaller."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= chunk_bytes:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)

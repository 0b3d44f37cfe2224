"""Upload of a blob as docker, podman and skopeo send it: one PATCH with the whole content, then a PUT with its digest.

That is what every registry accepts. A chunk (a PATCH with Content-Range) is sent only to continue an upload that was
interrupted, because GitHub's registry refuses a chunk of more than 4 MiB, Google's refuses every chunk, Amazon's
reports a stale position and JFrog's keeps only the last chunk. When a chunk isn't accepted, or the registry reports a
position that can't be right, the upload begins again with the whole content.

Source: OCI distribution-spec 1.1, "Pushing blobs"; aws/containers-roadmap#2831; wasmCloud/wasmCloud#3405.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from urllib.parse import urlencode

from eaves.errors import OciNotFoundError, RegistryError
from eaves.oci.descriptor import Descriptor
from eaves.oci.registry.response import (
    MAX_PAUSE_S,
    PassingError,
    RegistryResponse,
    build_passing_error,
    build_status_error,
    require_status,
)
from eaves.oci.registry.transport import RegistryTransport, follow
from eaves.oci.store.content_store import ContentSource, Progress, verified

PART_BYTES = 1 << 14
"""Size of the parts in which content is sent. The time limit for sending applies to each part separately."""
_OCTETS = {"Content-Type": "application/octet-stream"}
_ACCEPTED = frozenset({201, 202, 204})
"""Statuses of a PATCH that was accepted. The specification has 202; Google answers 204 and Amazon 201. Source:
containerd/containerd#1318, dotnet/sdk#33336."""
_STORED = frozenset({201, 204})
"""Statuses of a PUT after which the registry has the blob."""


class BlobUpload:
    """One blob on its way to a repository.

    Args:
        transport: Transport to the registry.
        blobs: URL of the repository's blobs, with a slash at its end.
        scope: Scope that a token must allow.
        where: Name of the repository in error messages.
        descriptor: Descriptor of the blob.
        source: Source that has the blob.
        progress: Function that is called with the size of each part that was sent, with a negative size when bytes
            are sent again, and with 0 while the source waits. An exception from it ends the upload.
    """

    def __init__(
        self,
        transport: RegistryTransport,
        blobs: str,
        scope: str,
        where: str,
        *,
        descriptor: Descriptor,
        source: ContentSource,
        progress: Progress,
    ) -> None:
        self._transport = transport
        self._blobs, self._scope, self._where = blobs, scope, where
        self._descriptor, self._source, self._progress = descriptor, source, progress
        self._what = f"the upload of {descriptor.digest}"
        self._sent = 0  # offset of the next byte to send
        self._source_error: Exception | None = None

    def run(self) -> None:
        """Upload the blob. An attempt after which the registry has more than ever before doesn't count.

        Raises:
            OciError: When the source's content doesn't match the descriptor, or the registry refuses the upload.
        """
        pauses, most, may_resume = self._transport.pauses(), 0, True
        place, start = self._begin(), 0
        while True:
            last, pause_s = next(pauses)
            try:
                self._complete(self._send(place, start), start)
            except PassingError as error:
                wait_s = error.wait_s or pause_s
                if last or wait_s > MAX_PAUSE_S:
                    raise RegistryError(
                        f"the upload of {self._descriptor.digest} stopped at byte {start}: {error.message}"[:400],
                        hint="push again; content that has arrived completely is not sent again",
                    ) from error
            else:
                return
            time.sleep(wait_s)
            place, stored = self._ask_position(place) if may_resume else (place, 0)
            if start < stored <= self._sent:
                start = stored
            else:
                may_resume = may_resume and not start
                place, start = self._begin(), 0
            if start > most:
                pauses, most = self._transport.pauses(), start

    def _begin(self) -> str:
        """Start an upload; return its URL."""
        url = f"{self._blobs}uploads/"
        answer = self._transport.send("POST", url, self._scope, body=b"")
        if answer.status == 404:
            raise OciNotFoundError(
                f"{self._where} accepts no uploads",
                hint="create the repository or its project at the registry, or check the name",
            )
        require_status(answer, {202}, f"an upload to {self._where}")
        if not answer.headers.get("Location"):
            raise RegistryError(
                f"{self._where} started an upload without an address for it", hint="use another registry"
            )
        return follow(url, answer.headers["Location"])

    def _send(self, place: str, start: int) -> str:
        """Send the content from an offset on; return the URL at which the upload is completed.

        Raises:
            PassingError: When sending the content again may succeed.
        """
        size = self._descriptor.size
        if start >= size:
            return place
        chunk = {"Content-Range": f"{start}-{size - 1}"} if start else {}
        headers = {**_OCTETS, **chunk, "Content-Length": str(size - start)}
        try:
            answer = self._transport.once(
                "PATCH", place, self._scope, body=lambda: self._content(start), headers=headers
            )
        except RegistryError:
            if self._source_error is not None:
                raise self._source_error from None
            raise
        if answer.status not in _ACCEPTED:
            raise self._refused(answer, start) if start else build_passing_error(answer, self._what)
        return follow(place, answer.headers.get("Location", ""))

    def _complete(self, place: str, start: int) -> None:
        """Send the content's digest, after which the registry has the blob.

        Raises:
            PassingError: When an upload that was continued isn't stored.
        """
        place += f"{'&' if '?' in place else '?'}{urlencode({'digest': self._descriptor.digest})}"
        answer = self._transport.send("PUT", place, self._scope, body=b"", headers=_OCTETS)
        if answer.status in _STORED and not start:
            return
        # An upload that was continued is checked, and so is one that is unknown: only the response may have been lost.
        if answer.status in {*_STORED, 404} and self._is_stored():
            return
        raise self._refused(answer, start) if start else build_status_error(answer, self._what)

    def _refused(self, answer: RegistryResponse, start: int) -> PassingError:
        """Return the error of a continued upload, which begins again with the whole content."""
        message = f"{self._what} from byte {start} on: the registry answered {answer.status}"
        return PassingError(message, wait_s=answer.wait_s(0.0))

    def _content(self, start: int) -> Generator[bytes]:
        """Yield the content from an offset on in parts; all of it is read and verified."""
        self._progress(start - self._sent)
        self._sent, offset = start, 0
        try:
            with self._source.open(self._descriptor, poll=lambda: self._progress(0)) as stream:
                for piece in verified(stream, self._descriptor):
                    for at in range(max(0, start - offset), len(piece), PART_BYTES):
                        part = piece[at : at + PART_BYTES]
                        self._sent += len(part)
                        self._progress(len(part))
                        yield part
                    offset += len(piece)
        except (OSError, RegistryError) as error:  # which would count as the connection's
            self._source_error = error
            raise

    def _ask_position(self, place: str) -> tuple[str, int]:
        """Return the URL at which the upload continues, and how many bytes the registry has; 0 when it doesn't say."""
        answer = self._transport.send("GET", place, self._scope)
        # The range `0-0` means one byte or none.
        last = re.fullmatch(r"0-([1-9][0-9]{0,18})", answer.headers.get("Range", ""))
        stored = int(last[1]) + 1 if last and answer.status == 204 else 0
        return follow(place, answer.headers.get("Location", "")), stored

    def _is_stored(self) -> bool:
        """Return whether the repository has the blob, with its size."""
        answer = self._transport.send("HEAD", f"{self._blobs}{self._descriptor.digest}", self._scope)
        return answer.status == 200 and answer.headers.get("Content-Length") == str(self._descriptor.size)

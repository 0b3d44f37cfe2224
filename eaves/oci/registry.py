"""A registry over HTTP: a place to read container images from and write them to.

oras, the Python library for this, reads each blob into memory, can't mount, can't go on with a broken upload and keeps
one token for all repositories. So the requests are made here, over urllib3, which pools, retries and waits.

Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3

import eaves
from eaves.errors import AccessError, OciError, OciNotFoundError, RegistryError
from eaves.oci.credentials import load_credentials
from eaves.oci.descriptor import INDEXES, MANIFESTS, MAX_DOCUMENT_BYTES, Descriptor, digest_of
from eaves.oci.login import Login
from eaves.oci.place import Progress, Source, verified
from eaves.oci.reference import Reference

UPLOAD_CHUNK_BYTES = 8 * 1024 * 1024
ATTEMPTS = 5
"""Of one chunk or small request; pauses double from `PAUSE_S`, unless the registry says how long."""
PAUSE_S = 0.5
MAX_PAUSE_S = 60.0
TIMEOUT = urllib3.Timeout(connect=15, read=120)
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_PULL, _PUSH = "pull", "pull,push"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How registries are reached.

    Attributes:
        plain_http: Whether without TLS, and secrets too.
        authorities: PEM file of certificate authorities to trust; None: the system's.
        config: Docker's config, with logins.
        attempts: Of each request.
        pause_s: Before the second; it doubles.
    """

    plain_http: bool = False
    authorities: Path | None = None
    config: Path = Path("~/.docker/config.json")
    attempts: int = ATTEMPTS
    pause_s: float = PAUSE_S


class Registry:
    """One repository of a registry; a `Source` and a `Target`, safe to use from many threads.

    Args:
        reference: Its host and repository.
        access: How it is reached.
    """

    def __init__(self, reference: Reference, access: Access) -> None:
        self._reference = reference
        self._access = access
        scheme = "http" if access.plain_http else "https"
        self._root = f"{scheme}://{reference.api_host}/v2/"
        self._base = f"{self._root}{reference.repository}/"
        authorities = str(access.authorities) if access.authorities else None
        self._http = urllib3.PoolManager(
            maxsize=8,
            timeout=TIMEOUT,
            retries=False,
            ca_certs=authorities,
            headers={"User-Agent": f"eaves/{eaves.__version__}"},
        )
        self._login = Login(
            self._http, load_credentials(reference.host, access.config.expanduser()), plain=access.plain_http
        )

    def resolve(self, name: str) -> Descriptor:
        """The manifest or index that a tag or digest names.

        Raises:
            OciNotFoundError: When there is none.
            RegistryError: When the registry doesn't answer as it should.
        """
        content, media_type = self._manifest(name)
        return Descriptor(media_type=media_type, digest=digest_of(content), size=len(content))

    def read(self, descriptor: Descriptor) -> bytes:
        """A document, verified.

        Raises:
            OciError: When it isn't there or isn't what the descriptor says.
        """
        if descriptor.media_type in INDEXES | MANIFESTS:
            content, _ = self._manifest(descriptor.digest)
            if (digest_of(content), len(content)) != (descriptor.digest, descriptor.size):
                raise OciError(f"{self._reference} answers {descriptor.digest} with other content")
            return content
        if descriptor.size > MAX_DOCUMENT_BYTES:
            raise OciError(f"the document {descriptor.digest} has {descriptor.size} bytes, too many")
        with self.open(descriptor) as stream:
            return b"".join(verified(stream, descriptor))

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """A blob as a stream.

        Raises:
            OciNotFoundError: When it isn't there.
            RegistryError: When the registry fails, or breaks off.
        """
        answer = self._ask("GET", f"{self._base}blobs/{descriptor.digest}", _PULL, stream=True, redirect=True)
        try:
            _require(answer, {200}, f"{self._reference.repository}@{descriptor.digest}")
            yield cast("BinaryIO", answer)
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"{descriptor.digest} broke off: {error}"[:300], hint="try again") from error
        finally:
            answer.drain_conn() if answer.status != 200 else answer.close()

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob is there.

        Raises:
            RegistryError: When the registry doesn't answer as it should.
        """
        answer = self._ask("HEAD", f"{self._base}blobs/{descriptor.digest}", _PULL, redirect=True)
        if answer.status == 404:
            return False
        _require(answer, {200}, descriptor.digest)
        return True

    def mount(self, descriptor: Descriptor, other: str) -> bool:
        """Take a blob over from another repository of the same registry; whether that worked."""
        query = urlencode({"mount": descriptor.digest, "from": other})
        scope = f"{self._scope(_PUSH)} repository:{other}:{_PULL}"
        answer = self._ask("POST", f"{self._base}blobs/uploads/?{query}", scope, whole_scope=True)
        if answer.status == 202 and (place := answer.headers.get("Location")):
            self._ask("DELETE", urljoin(self._base, place), _PUSH)  # an upload that isn't wanted
        return answer.status == 201

    def write(self, descriptor: Descriptor, source: Source, progress: Progress) -> None:
        """Upload a blob in chunks; one that breaks off goes on where the registry says it stopped.

        Raises:
            OciError: When the source's content isn't what its descriptor says, or the registry refuses it.
        """
        place = self._begin()
        with source.open(descriptor) as stream:
            sent = 0
            for chunk in _chunks(verified(stream, descriptor)):
                place = self._send(place, chunk, sent, descriptor)
                sent += len(chunk)
                progress(len(chunk))
        mark = "&" if "?" in place else "?"
        answer = self._ask("PUT", f"{place}{mark}{urlencode({'digest': descriptor.digest})}", _PUSH, body=b"")
        _require(answer, {201, 204}, f"the upload of {descriptor.digest}")

    def write_manifest(self, descriptor: Descriptor, content: bytes, name: str | None = None) -> None:
        """Put a manifest or index, by its digest or under a tag.

        Raises:
            RegistryError: When the registry refuses it.
        """
        url = f"{self._base}manifests/{name or descriptor.digest}"
        answer = self._ask("PUT", url, _PUSH, body=content, headers={"Content-Type": descriptor.media_type})
        _require(answer, {201}, f"the manifest {name or descriptor.digest}")

    def tags(self) -> list[str]:
        """Every tag."""
        answer = self._ask("GET", f"{self._base}tags/list", _PULL)
        _require(answer, {200}, "the list of tags")
        found = json.loads(answer.data).get("tags")
        return [str(tag) for tag in found or []]

    def _manifest(self, name: str) -> tuple[bytes, str]:
        accept = {"Accept": ", ".join(sorted(INDEXES | MANIFESTS))}
        answer = self._ask("GET", f"{self._base}manifests/{name}", _PULL, headers=accept)
        _require(answer, {200}, f"{self._reference.host}/{self._reference.repository}:{name}")
        if len(answer.data) > MAX_DOCUMENT_BYTES:
            raise RegistryError(f"the manifest {name} has {len(answer.data)} bytes, too many")
        return answer.data, answer.headers.get("Content-Type", "").partition(";")[0].strip()

    def _begin(self) -> str:
        answer = self._ask("POST", f"{self._base}blobs/uploads/", _PUSH, body=b"")
        _require(answer, {202}, "an upload")
        return self._place(answer)

    def _send(self, place: str, chunk: bytes, start: int, descriptor: Descriptor) -> str:
        """One chunk; where the next goes."""
        end = start + len(chunk)
        headers = {"Content-Range": f"{start}-{end - 1}", "Content-Type": "application/octet-stream"}
        fault: Exception | None = None
        for attempt in range(self._access.attempts):
            if attempt:
                time.sleep(self._access.pause_s * 2 ** (attempt - 1))
            try:
                answer = self._once("PATCH", place, self._scope(_PUSH), body=chunk, headers=headers)
            except RegistryError as error:
                fault = error
            else:
                if answer.status in (202, 204):
                    return self._place(answer, place)
                if answer.status not in _AGAIN | {416}:
                    _require(answer, {202}, f"a chunk of {descriptor.digest}")
                fault = None
            place, got = self._received(place)
            if got == end:
                return place
            if got != start:
                break
        raise RegistryError(
            f"the upload of {descriptor.digest} stopped at byte {start}: {fault or 'the registry lost its place'}",
            hint="push again; what has arrived whole isn't sent again",
        )

    def _received(self, place: str) -> tuple[str, int]:
        """Where an upload goes on, and at which byte."""
        answer = self._ask("GET", place, _PUSH)
        if answer.status != 204:
            return place, -1
        last = answer.headers.get("Range", "0-0").rpartition("-")[2]
        # `0-0` is said of one byte and of none; no chunk has one byte but the last of a tiny blob.
        return self._place(answer, place), int(last) + 1 if last.isdecimal() and last != "0" else 0

    def _place(self, answer: urllib3.BaseHTTPResponse, default: str = "") -> str:
        found = answer.headers.get("Location", "")
        if not found and not default:
            raise RegistryError("the registry began an upload without saying where", hint="try another registry")
        return urljoin(self._base, found) if found else default

    def _scope(self, rights: str) -> str:
        return f"repository:{self._reference.repository}:{rights}"

    def _ask(
        self,
        method: str,
        url: str,
        rights: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        redirect: bool = False,
        whole_scope: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """A request with its logins and retries; the answer may have any status that isn't worth another attempt."""
        scope = rights if whole_scope else self._scope(rights)
        for attempt in range(self._access.attempts):
            last, pause_s = attempt + 1 == self._access.attempts, self._access.pause_s * 2**attempt
            try:
                answer = self._once(method, url, scope, body=body, headers=headers, stream=stream, redirect=redirect)
            except RegistryError as error:
                if isinstance(error, AccessError) or last:
                    raise
            else:
                if answer.status not in _AGAIN or last:
                    return answer
                said = answer.headers.get("Retry-After", "")
                pause_s = min(MAX_PAUSE_S, float(said)) if said.isdecimal() else pause_s
                answer.drain_conn()
            time.sleep(pause_s)
        raise AssertionError  # the last attempt returns or raises

    def _once(
        self,
        method: str,
        url: str,
        scope: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        redirect: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        ours = urlsplit(url).netloc == urlsplit(self._root).netloc  # a signed URL elsewhere gets no secret of ours
        for again in (True, False):
            login = self._login.header(scope) if ours else {}
            try:
                answer = self._http.request(
                    method,
                    url,
                    body=body,
                    headers={**self._http.headers, **(headers or {}), **login},
                    preload_content=not stream,
                    redirect=redirect,
                    retries=urllib3.Retry(5, read=0, connect=0, status=0, other=0) if redirect else False,
                )
            except urllib3.exceptions.HTTPError as error:
                raise RegistryError(
                    f"{self._reference.host} can't be reached: {error}"[:300], hint=self._hint(error)
                ) from error
            challenge = answer.headers.get("WWW-Authenticate")
            if not (answer.status == 401 and challenge and ours and again):
                return answer
            answer.drain_conn()
            self._login.answer(challenge, scope)
        raise AssertionError  # the second round returns

    def _hint(self, error: Exception) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return "name its certificate authority with --registry-ca"
        if "WRONG_VERSION_NUMBER" in str(error) or "record layer" in str(error):
            return "it speaks plain HTTP: allow that with --plain-http"
        return "check the name and the network, then try again"


def _chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces joined to the size of a chunk."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= UPLOAD_CHUNK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _require(answer: urllib3.BaseHTTPResponse, wanted: Sequence[int] | set[int], what: str) -> None:
    """Raise unless the status is one of those.

    Raises:
        AccessError: 401, 403.
        OciNotFoundError: 404.
        RegistryError: Anything else.
    """
    if answer.status in wanted:
        return
    said = _said(answer)
    if answer.status in (401, 403):
        raise AccessError(f"{what}: not allowed ({answer.status}){said}", hint="log in with your container tool")
    if answer.status == 404:
        raise OciNotFoundError(f"{what} isn't there{said}")
    if answer.status == 429:
        raise RegistryError(f"{what}: the registry takes no more requests for now{said}", hint="try again later")
    if answer.status == 413:
        raise RegistryError(f"{what} is larger than the registry takes{said}", hint="raise its limit")
    raise RegistryError(f"{what}: the registry answered {answer.status}{said}", hint="try again later")


def _said(answer: urllib3.BaseHTTPResponse) -> str:
    """What the registry says of it. Source: distribution-spec, error codes."""
    try:
        errors = json.loads(answer.data[:MAX_DOCUMENT_BYTES])["errors"]
        told = "; ".join(f"{one.get('code')}: {one.get('message')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError, urllib3.exceptions.HTTPError):
        return ""
    return f": {told[:200]}" if told.isprintable() else ""

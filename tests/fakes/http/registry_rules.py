"""Rules of hosted registries for uploads that are not in the specification; each is a `FakeRegistry.fault`."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes.http.registry import FakeRegistry, Reply, Request

Rule = Callable[[Request], Reply | None]
GITHUB_CHUNK_BYTES = 4 * 1024 * 1024
TOO_LARGE = b'{"errors":[{"code":"REQUESTED_RANGE_NOT_SATISFIABLE","message":"the request body is too large"}]}'


def is_chunk(request: Request) -> bool:
    """Whether a request is a PATCH with a range."""
    return request.method == "PATCH" and "Content-Range" in request.headers


def refuse_large_chunks(request: Request) -> Reply | None:
    """GitHub's registry refuses a chunk of more than 4 MiB. Source: oras-project/rust-oci-client#35."""
    large = is_chunk(request) and len(request.body) > GITHUB_CHUNK_BYTES
    return Reply(status=416, body=TOO_LARGE) if large else None


def refuse_chunks(status: int) -> Rule:
    """Google's Artifact Registry takes no chunks; its exact answer isn't documented. 0: the connection is dropped."""
    return lambda request: Reply(status=status) if is_chunk(request) else None


def report_stale_position(fake: FakeRegistry) -> Rule:
    """Amazon's registry answers 201 to a PATCH, and reports the end of the first one from then on.

    Source: aws/containers-roadmap#2831, dotnet/sdk#33336.
    """
    first: dict[str, int] = {}

    def answer(request: Request) -> Reply | None:
        if request.what == "GET uploads":
            name = request.path.rpartition("/")[2]
            end = first.setdefault(name, len(fake.content.uploads[name]))
            return Reply(status=204, headers={"Range": f"0-{end - 1}"})
        whole = request.method == "PATCH" and not is_chunk(request)
        return Reply(status=201, done=True) if whole else None

    return answer


def keep_last_chunk(fake: FakeRegistry) -> Rule:
    """JFrog's registry accepts chunks and stores the last one only. Source: wasmCloud/wasmCloud#3405."""

    def answer(request: Request) -> Reply | None:
        name = request.path.rpartition("/")[2]
        if is_chunk(request):
            fake.content.uploads[name][:] = request.body
            return Reply(status=202)
        if request.what == "PUT uploads":
            digest = request.query["digest"][0]
            fake.content.blobs[digest] = bytes(fake.content.uploads.pop(name))
            fake.content.repositories.setdefault("site/x", set()).add(digest)
            return Reply(status=201)
        return None

    return answer

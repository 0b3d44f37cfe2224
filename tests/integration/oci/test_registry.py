"""A registry's good and bad days, by one that does on demand what real ones do rarely."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from eaves.errors import AccessError, OciError, OciNotFoundError, RegistryError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import INDEX, MANIFEST, MAX_DOCUMENT_BYTES, Descriptor, Reference
from eaves.oci.layout import Layout, verified
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.container_images.registries import check_image, small_index
from tests.fakes.http.registry import FakeRegistry, Reply, Request, serve_fake
from tests.inputs.certificates import make_certificate
from tests.integration.oci.blobs import QUICK, once, push, reach, write_blob

NO_UPLOAD = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'


def push_to(registry: Registry, descriptor: Descriptor, layout: Layout) -> bytes:
    registry.write(descriptor, layout, lambda size: None)
    return b""


@pytest.mark.parametrize("status", [429, 502])
@pytest.mark.parametrize("what", ["HEAD blobs", "POST uploads", "PATCH uploads", "PUT uploads", "PUT manifests"])
def test_what_passes_is_tried_again(fake: FakeRegistry, tmp_path: Path, status: int, what: str) -> None:
    fake.fault = once(what, Reply(status=status, headers={"Retry-After": "0"}))
    layout, descriptor = small_index(tmp_path, architectures=("amd64",))
    copy_image(layout, reach(fake), descriptor, name="v1")
    check_image(reach(fake), reach(fake).resolve("v1"))


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AccessError, "access denied"),
        (404, OciNotFoundError, "accepts no uploads"),
        (413, RegistryError, "larger"),
        (429, RegistryError, "TOOMANYREQUESTS: slow down"),
    ],
)
def test_what_lasts_is_said(fake: FakeRegistry, tmp_path: Path, status: int, error: type[OciError], words: str) -> None:
    def answer(request: Request) -> Reply | None:
        return Reply(status=status, body=NO_UPLOAD) if request.what == "POST uploads" else None

    fake.fault = answer
    with pytest.raises(error, match=words) as caught:
        push(fake, tmp_path, b"content")
    assert caught.value.exit_code == {401: 77, 404: 66}.get(status, 69)
    assert caught.value.hint


def test_who_says_to_wait_for_an_hour_is_not_asked_again(fake: FakeRegistry) -> None:
    fake.fault = lambda request: Reply(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(RegistryError, match="for 3600 s"):
        reach(fake).resolve("v1")
    assert len(fake.log) == 1


def test_a_blob_that_breaks_off_continues(fake: FakeRegistry, tmp_path: Path) -> None:
    content = random.Random(5).randbytes(3_000_000)
    for ranges in (True, False):
        fake.ranges = ranges
        registry, descriptor, _ = push(fake, tmp_path, content)
        fake.fault = once(
            "GET blobs", Reply(status=200, headers={"Content-Length": "3000000"}, body=content, sent=2_000_000)
        )
        before = len(fake.asked("GET blobs"))
        with registry.open(descriptor) as stream:
            assert b"".join(verified(stream, descriptor)) == content
        first, second = fake.asked("GET blobs")[before:]
        assert "Range" not in first.headers
        assert second.headers["Range"].startswith("bytes=")


@pytest.mark.parametrize(
    ("media_type", "content", "words"),
    [
        (MANIFEST, b"<html>", "not JSON"),
        ("text/html", b"<html>Welcome</html>", "not a container image but a text/html"),
        (MANIFEST, b'{"manifests": []}', "its content is of another type"),
        (MANIFEST, b'{"mediaType": "%s", "layers": []}' % INDEX.encode(), "its content is of another type"),
        (MANIFEST, b" " * (MAX_DOCUMENT_BYTES + 1), "larger than the limit for a document"),
    ],
)
def test_what_is_no_manifest(fake: FakeRegistry, media_type: str, content: bytes, words: str) -> None:
    fake.content.manifests["site/x", "v1"] = (media_type, content)
    with pytest.raises(OciError, match=words):
        reach(fake).resolve("v1")


def test_a_manifest_by_digest_that_is_another(fake: FakeRegistry, tmp_path: Path) -> None:
    layout, descriptor = small_index(tmp_path)
    copy_image(layout, reach(fake), descriptor, name="v1")
    media_type, content = fake.content.manifests["site/x", "v1"]
    fake.content.manifests["site/x", descriptor.digest] = (media_type, content + b" ")
    for act in (lambda: reach(fake).resolve(descriptor.digest), lambda: reach(fake).read(descriptor)):
        with pytest.raises(OciError, match="other content"):
            act()


def _refuse_posts(status: int) -> Callable[[Request], Reply | None]:
    return lambda request: Reply(status=status) if request.method == "POST" else None


def test_mounting(fake: FakeRegistry, tmp_path: Path) -> None:
    registry, descriptor, _ = push(fake, tmp_path, b"content")
    other = reach(fake, repository="site/y")
    assert other.mount(descriptor, "site/x")
    assert other.has(descriptor)
    fake.mounts = False
    third = reach(fake, repository="site/z")
    assert not third.mount(descriptor, "site/x")
    assert not third.has(descriptor)
    for status in (403, 500):
        fake.fault = _refuse_posts(status)
        assert not third.mount(descriptor, "site/x")
    assert registry.has(descriptor)


@pytest.mark.parametrize("relative", [True, False])
def test_uploads_and_blobs_elsewhere_get_no_secret(tmp_path: Path, relative: bool) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"%s": {"auth": "ZWF2ZXM6c2VjcmV0"}}}')
    with ExitStack() as stack:
        fake = stack.enter_context(serve_fake())
        elsewhere = stack.enter_context(serve_fake(fake.content))
        config = tmp_path / "config.json"
        config.write_text(config.read_text() % fake.host)
        access = Access(plain_http=True, config=config, pause_s=0.001)
        fake.auth, fake.relative = "basic", relative
        if not relative:
            fake.uploads_at, fake.blobs_at = elsewhere.url, elsewhere.url
        registry, descriptor, _ = push(fake, tmp_path, b"content", access)
        with registry.open(descriptor) as stream:
            assert stream.read(100) == b"content"
        assert all("Authorization" in request.headers for request in fake.log[1:])
        assert [request.what for request in elsewhere.log] == (
            [] if relative else ["PATCH uploads", "PUT uploads", "GET blobs"]
        )
        assert not any("Authorization" in request.headers for request in elsewhere.log)


@pytest.mark.parametrize("what", ["POST uploads", "GET blobs", "PATCH uploads"])
def test_no_way_leads_from_tls_to_plain_http(tmp_path: Path, what: str) -> None:
    certificate = make_certificate(tmp_path / "tls")
    with serve_fake(certificate=certificate) as fake, serve_fake(fake.content) as plain:
        access = Access(authorities=certificate[0], config=QUICK.config, pause_s=0.001)
        _, descriptor, _ = push(fake, tmp_path, b"content", access)
        status = {"POST uploads": 202, "GET blobs": 307, "PATCH uploads": 202}[what]
        place = f"{plain.url}/v2/site/x/blobs/uploads/upload-1"
        fake.fault = once(what, Reply(status=status, headers={"Location": place}))
        layout, other = write_blob(tmp_path, b"other content")
        registry = reach(fake, access)

        def act() -> bytes:
            return registry.read(descriptor) if what == "GET blobs" else push_to(registry, other, layout)

        with pytest.raises(RegistryError, match="not https") as caught:
            act()
        assert "X-Forwarded-Proto" in str(caught.value.hint)
        assert plain.log == []


def test_a_registry_that_is_not_there() -> None:
    with serve_fake() as gone:
        pass
    with pytest.raises(RegistryError, match="can't be reached") as caught:
        reach(gone).resolve("v1")
    assert "network" in str(caught.value.hint)
    with pytest.raises(RegistryError, match="is not a valid address"):
        Registry(Reference(host="127.0.0.1:99999", repository="x"), QUICK).resolve("v1")

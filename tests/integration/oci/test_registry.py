"""A registry's good and bad days, by one that does on demand what real ones do rarely, over a bad link."""

import hashlib
import os
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from bench.link.proxy import FaultProxy, Link
from eaves.errors import AccessError, OciError, OciNotFoundError, RegistryError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import INDEX, LAYER, MANIFEST, MAX_DOCUMENT_BYTES, Descriptor, Reference
from eaves.oci.layout import Layout, create_layout, verified
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import SILENT_S, Access
from tests.container_images.registries import check_image, small_index
from tests.fakes.http.registry import FakeRegistry, Reply, Request, serve_fake
from tests.inputs.certificates import make_certificate
from tests.integration.oci.blobs import QUICK, once, push, reach, write_blob
from tests.waiting import wait_until

NO_UPLOAD = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'


def push_to(registry: Registry, descriptor: Descriptor, layout: Layout) -> bytes:
    registry.write(descriptor, layout, lambda size: None)
    return b""


@pytest.mark.parametrize("what", ["HEAD blobs", "POST uploads", "PATCH uploads", "PUT uploads", "PUT manifests"])
def test_what_passes_is_tried_again(fake: FakeRegistry, tmp_path: Path, what: str):
    for status in (429, 502):
        fake.fault = once(what, Reply(status=status, headers={"Retry-After": "0"}))
        layout, descriptor = small_index(tmp_path / str(status), str(status).encode(), architectures=("amd64",))
        copy_image(layout, reach(fake), descriptor, name="v1")
        check_image(reach(fake), reach(fake).resolve("v1"))


def test_what_lasts_is_said(fake: FakeRegistry, tmp_path: Path):
    for status, error, code, words in (
        (401, AccessError, 77, "access denied"),
        (404, OciNotFoundError, 66, "accepts no uploads"),
        (413, RegistryError, 69, "larger"),
        (429, RegistryError, 69, "TOOMANYREQUESTS: slow down"),
    ):
        refusal = Reply(status=status, body=NO_UPLOAD)
        fake.fault = lambda request, refusal=refusal: refusal if request.what == "POST uploads" else None  # type: ignore[misc]
        with pytest.raises(error, match=words) as caught:
            push(fake, tmp_path / str(status), b"content")
        assert caught.value.exit_code == code
        assert caught.value.hint


def test_who_says_to_wait_for_an_hour_is_not_asked_again(fake: FakeRegistry):
    fake.fault = lambda request: Reply(status=429, headers={"Retry-After": "3600"})
    with pytest.raises(RegistryError, match="for 3600 s"):
        reach(fake).resolve("v1")
    assert len(fake.log) == 1


def test_a_blob_that_breaks_off_continues(fake: FakeRegistry, tmp_path: Path):
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


def test_what_is_no_manifest(fake: FakeRegistry):
    for media_type, content, words in (
        (MANIFEST, b"<html>", "not JSON"),
        ("text/html", b"<html>Welcome</html>", "not a container image but a text/html"),
        (MANIFEST, b'{"manifests": []}', "its content is of another type"),
        (MANIFEST, b'{"mediaType": "%s", "layers": []}' % INDEX.encode(), "its content is of another type"),
        (MANIFEST, b" " * (MAX_DOCUMENT_BYTES + 1), "larger than the limit for a document"),
    ):
        fake.content.manifests["site/x", "v1"] = (media_type, content)
        with pytest.raises(OciError, match=words):
            reach(fake).resolve("v1")


def test_a_manifest_by_digest_that_is_another(fake: FakeRegistry, tmp_path: Path):
    layout, descriptor = small_index(tmp_path)
    copy_image(layout, reach(fake), descriptor, name="v1")
    media_type, content = fake.content.manifests["site/x", "v1"]
    fake.content.manifests["site/x", descriptor.digest] = (media_type, content + b" ")
    for act in (lambda: reach(fake).resolve(descriptor.digest), lambda: reach(fake).read(descriptor)):
        with pytest.raises(OciError, match="other content"):
            act()


def _refuse_posts(status: int) -> Callable[[Request], Reply | None]:
    return lambda request: Reply(status=status) if request.method == "POST" else None


def test_mounting(fake: FakeRegistry, tmp_path: Path):
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
def test_uploads_and_blobs_elsewhere_get_no_secret(tmp_path: Path, relative: bool):
    (tmp_path / "config.json").write_text('{"auths": {"%s": {"auth": "ZWF2ZXM6c2VjcmV0"}}}')
    with ExitStack() as stack:
        fake = stack.enter_context(serve_fake())
        elsewhere = stack.enter_context(serve_fake(fake.content))
        config = tmp_path / "config.json"
        config.write_text(config.read_text() % fake.host)
        access = Access(plain_http=True, configs=(config,), pause_s=0.001)
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
def test_no_way_leads_from_tls_to_plain_http(tmp_path: Path, what: str):
    certificate = make_certificate(tmp_path / "tls")
    with serve_fake(certificate=certificate) as fake, serve_fake(fake.content) as plain:
        access = Access(authorities=certificate[0], configs=QUICK.configs, pause_s=0.001)
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


def test_a_registry_that_is_not_there():
    with serve_fake() as gone:
        pass
    with pytest.raises(RegistryError, match="can't be reached") as caught:
        reach(gone).resolve("v1")
    assert "network" in str(caught.value.hint)
    with pytest.raises(RegistryError, match="is not a valid address"):
        Registry(Reference(host="127.0.0.1:99999", repository="x"), QUICK).resolve("v1")


NOBODY = Path("/nowhere/config.json")
CONTENT = random.Random(9).randbytes(1_300_000)
SIZE = len(CONTENT)
LAYER_OF_IT = Descriptor(media_type=LAYER, digest=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", size=SIZE)


def reach_link(host: str, **options: object) -> Registry:
    access = Access(plain_http=True, configs=(NOBODY,), **{"pause_s": 0.01, "read_s": 30.0, **options})  # type: ignore[arg-type]
    return Registry(Reference(host=host, repository="site/x"), access)


def through(proxy: FaultProxy, **options: object) -> Registry:
    return reach_link(f"127.0.0.1:{proxy.port}", **options)


def files(layout: Layout) -> list[Path]:
    """Every file with content, also of incomplete content."""
    return [path for path in (layout.path / "blobs").rglob("*") if path.is_file()]


def starts(fake: FakeRegistry) -> list[int]:
    """The byte that each request for the layer began with."""
    ranges = (request.headers.get("Range", "bytes=0-") for request in fake.asked("GET blobs"))
    return [int(one.removeprefix("bytes=").removesuffix("-")) for one in ranges]


@pytest.fixture
def filled(fake: FakeRegistry) -> FakeRegistry:
    fake.content.blobs[LAYER_OF_IT.digest] = CONTENT
    fake.content.repositories["site/x"] = {LAYER_OF_IT.digest}
    return fake


@pytest.fixture
def target(tmp_path: Path) -> Layout:
    return create_layout(tmp_path / "target")


@pytest.fixture
def proxy(filled: FakeRegistry) -> Iterator[FaultProxy]:
    """A link of half a megabyte a second to the registry."""
    with FaultProxy("127.0.0.1", int(filled.host.rpartition(":")[2]), Link(mbit_s=4)) as link:
        yield link


def cut_at(proxy: FaultProxy, size: int, reported: list[int]) -> Callable[[int], None]:
    """Progress that cuts the link once, when so much has come."""
    cut: list[bool] = []

    def tell(more: int) -> None:
        reported.append(more)
        if sum(reported) >= size and not cut:
            cut.append(True)
            proxy.cut()

    return tell


@pytest.mark.long("container images are built and read by other tools")
def test_an_outage_is_waited_for_and_reported(filled: FakeRegistry, proxy: FaultProxy, target: Layout):
    reported: list[int] = []
    said: list[str] = []
    registry = through(proxy, say=said.append)  # five attempts, which would be over after 0.15 s
    pull = threading.Thread(target=target.write, args=(LAYER_OF_IT, registry, cut_at(proxy, 500_000, reported)))
    pull.start()
    wait_until(lambda: said, what="a word of it")
    proxy.restore()
    pull.join(30)
    assert target.blob_path(LAYER_OF_IT.digest).read_bytes() == CONTENT
    assert sum(reported) == SIZE
    first, *_, last = starts(filled)
    assert (first, last >= 500_000, last % 1_000_000 != 0) == (0, True, True)
    here = f"{last / 1e6:.1f} of 1.3 MB"
    reason = r"waiting for the registry: (the connection was interrupted|no answer in time) \([3-9] s\); "
    assert re.fullmatch(reason + re.escape(f"{here} downloaded"), said[0]), said
    assert said[1].startswith("the registry answers again after ")
    assert len(said) == 2


def test_a_link_that_stays_away_is_given_up(filled: FakeRegistry, proxy: FaultProxy, target: Layout):
    with pytest.raises(
        RegistryError,
        match=r"received no data for .*\((the connection was interrupted|no answer in time)\), after 0\.\d of 1\.3",
    ) as caught:
        target.write(LAYER_OF_IT, through(proxy, outage_s=0.5), cut_at(proxy, 500_000, []))
    assert "can be reached" in str(caught.value.hint)
    assert files(target) == []
    proxy.restore()
    target.write(LAYER_OF_IT, through(proxy))
    assert target.has(LAYER_OF_IT)


def test_a_silent_link_is_left_for_a_new_connection(filled: FakeRegistry, proxy: FaultProxy, target: Layout):
    reported: list[int] = []
    pull = threading.Thread(target=target.write, args=(LAYER_OF_IT, through(proxy, stall_s=0.3), reported.append))
    pull.start()
    wait_until(lambda: sum(reported) > 200_000, what="some of it")
    proxy.silence()
    wait_until(lambda: proxy.describe()["accepted"] > 1, what="another connection")  # else after read_s
    proxy.restore()
    pull.join(30)
    assert (target.has(LAYER_OF_IT), starts(filled)[-1] > 200_000) == (True, True)


def test_the_kernel_watches_connections(filled: FakeRegistry):
    registry = reach_link(filled.host)
    registry.has(LAYER_OF_IT)
    port, found = int(filled.host.rpartition(":")[2]), []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as one:
            if one.family == socket.AF_INET and one.getpeername()[1] == port:
                options = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
                alive = one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                found.append([alive, *(one.getsockopt(socket.IPPROTO_TCP, option) for option in options)])
    assert found == [[1, SILENT_S * 1000, 10, 5]]


def test_a_gateway_before_a_registry_that_is_away_is_waited_for(filled: FakeRegistry, target: Layout):
    def away(request: Request) -> Reply | None:
        return Reply(status=502) if request.number <= 9 else None

    filled.fault = away
    target.write(LAYER_OF_IT, reach_link(filled.host, pause_s=0.001))
    assert (target.has(LAYER_OF_IT), len(filled.log)) == (True, 10)

"""Debian's docker-registry: with a login, with TLS, cut off, and what is never sent twice."""

from __future__ import annotations

import base64
import json
import random
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from eaves.errors import AccessError, OciError, RegistryError
from eaves.oci.copy import copy_image
from eaves.oci.integrity import check_content
from eaves.oci.reference import Reference, parse_reference
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import Access
from tests.container_images.registries import PASSWORD, USER, LocalRegistry, serve_registry, small_index
from tests.inputs.certificates import make_certificate

NOBODY = Path("/nowhere/config.json")
PLAIN = Access(plain_http=True, config=NOBODY, pause_s=0.01)
BIG = random.Random(1).randbytes(20_480_000)  # what doesn't shrink, more than two chunks


def reach(registry: LocalRegistry, repository: str, access: Access = PLAIN) -> Registry:
    return Registry(Reference(host=registry.host, repository=repository), access)


def test_what_is_pushed_is_pulled_and_nothing_is_sent_twice(registry: LocalRegistry, tmp_path: Path) -> None:
    layout, index = small_index(tmp_path, BIG)
    first = copy_image(layout, reach(registry, "real/a"), index, name="v1")
    assert len(first.moved) == 4
    there = reach(registry, "real/a")
    assert check_content(there, there.resolve("v1")).size > len(BIG)
    again = copy_image(layout, there, index, name="v2")
    assert (again.moved, again.mounted, len(again.present)) == ((), (), 4)
    mounted = copy_image(layout, reach(registry, "real/b"), index, name="v1", mounts=["real/a"])
    assert (mounted.moved, len(mounted.mounted)) == ((), 4)
    assert registry.tags("real/a") == {"v1", "v2"}


def test_with_a_login(tmp_path: Path) -> None:
    with serve_registry(tmp_path / "registry", login=True) as registry:
        config = tmp_path / "config.json"
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config.write_text(json.dumps({"auths": {registry.host: {"auth": secret}}}))
        layout, index = small_index(tmp_path)
        known = reach(registry, "real/a", Access(plain_http=True, config=config))
        copy_image(layout, known, index, name="v1", mounts=["real/other"])
        assert known.resolve("v1").digest == index.digest
        with pytest.raises(AccessError):
            reach(registry, "real/a").resolve("v1")


def test_with_a_private_authority(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "tls")
    with serve_registry(tmp_path / "registry", certificate=certificate) as registry:
        layout, index = small_index(tmp_path)
        trusting = Access(authorities=certificate[0], config=NOBODY)
        copy_image(layout, reach(registry, "real/a", trusting), index, name="v1")
        assert reach(registry, "real/a", trusting).resolve("v1").digest == index.digest
        with pytest.raises(RegistryError, match="is not trusted") as caught:
            reach(registry, "real/a", Access(config=NOBODY)).resolve("v1")
        assert "--registry-ca" in str(caught.value.hint)
        with pytest.raises(RegistryError, match="accepts only TLS") as caught:
            reach(registry, "real/a").resolve("v1")
        assert "--plain-http" in str(caught.value.hint)


def test_authorities_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(OciError, match="no readable certificates"):
        Registry(parse_reference("reg.example/x"), Access(authorities=tmp_path / "ca.pem", config=NOBODY))


@contextmanager
def cutting(registry: LocalRegistry, after: list[int]) -> Iterator[str]:
    """A way to a registry that breaks each connection once so many bytes have gone up; then, nothing left, it holds."""
    host, _, port = registry.host.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def pump(source: socket.socket, target: socket.socket, left: float) -> None:
            with suppress(OSError):
                while left > 0 and not over.is_set():
                    if select.select([source], [], [], 0.05)[0]:
                        piece = source.recv(65536)
                        target.sendall(piece)
                        left = left - len(piece) if piece else 0
            for one in (source, target):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

        def join(client: socket.socket, left: float) -> None:
            with client, socket.create_connection((host, int(port)), timeout=30) as upstream:
                back = threading.Thread(target=pump, args=(upstream, client, float("inf")))
                back.start()
                pump(client, upstream, left)
                back.join()

        def accept() -> None:
            while not over.is_set():
                with suppress(OSError):
                    client = server.accept()[0]
                    client.settimeout(30)
                    left = float(after.pop(0)) if after else float("inf")
                    threads.append(threading.Thread(target=join, args=(client, left)))
                    threads[-1].start()

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            for thread in threads:
                thread.join(30)


@pytest.mark.parametrize("after", [[5_000_000], [9_000_000, 3_000_000], [400, 1_000_000, 200, 8_388_608]])
def test_a_connection_that_breaks_mid_upload(registry: LocalRegistry, tmp_path: Path, after: list[int]) -> None:
    repository = f"real/cut{len(after)}"
    layout, index = small_index(tmp_path, BIG + repository.encode(), architectures=("amd64",))
    reported: list[int] = []
    with cutting(registry, after) as host:
        store = Registry(Reference(host=host, repository=repository), PLAIN)
        copied = copy_image(layout, store, index, name="v1", progress=lambda blob: reported.append)
    assert after == []
    assert sum(reported) == sum(blob.size for blob in copied.moved)
    there = reach(registry, repository)
    check_content(there, there.resolve("v1"))

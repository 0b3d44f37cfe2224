"""A download over a link that is cut, silent or away, from a registry that fails."""

from __future__ import annotations

import hashlib
import os
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench.link.proxy import FaultProxy, Link
from eaves.errors import RegistryError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import LAYER, Descriptor, Reference
from eaves.oci.layout import Layout, create_layout
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import SILENT_S, Access
from tests.container_images.registries import LocalRegistry, check_image, small_index
from tests.fakes.http.registry import FakeRegistry, Reply, Request
from tests.waiting import wait_until

NOBODY = Path("/nowhere/config.json")
CONTENT = random.Random(9).randbytes(1_300_000)
SIZE = len(CONTENT)
LAYER_OF_IT = Descriptor(media_type=LAYER, digest=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", size=SIZE)


def reach(host: str, **options: object) -> Registry:
    access = Access(plain_http=True, config=NOBODY, **{"pause_s": 0.01, "read_s": 30.0, **options})  # type: ignore[arg-type]
    return Registry(Reference(host=host, repository="site/x"), access)


def through(proxy: FaultProxy, **options: object) -> Registry:
    return reach(f"127.0.0.1:{proxy.port}", **options)


def files(layout: Layout) -> list[Path]:
    """Every file with content, also of incomplete content."""
    return [path for path in (layout.path / "blobs").rglob("*") if path.is_file()]


def starts(fake: FakeRegistry) -> list[int]:
    """The byte that each request for the layer began with."""
    ranges = (request.headers.get("Range", "bytes=0-") for request in fake.asked("GET blobs"))
    return [int(one.removeprefix("bytes=").removesuffix("-")) for one in ranges]


@pytest.fixture
def fake(fake: FakeRegistry) -> FakeRegistry:
    fake.content.blobs[LAYER_OF_IT.digest] = CONTENT
    fake.content.repositories["site/x"] = {LAYER_OF_IT.digest}
    return fake


@pytest.fixture
def target(tmp_path: Path) -> Layout:
    return create_layout(tmp_path / "target")


@pytest.fixture
def proxy(fake: FakeRegistry) -> Iterator[FaultProxy]:
    """A link of half a megabyte a second to the registry."""
    with FaultProxy("127.0.0.1", int(fake.host.rpartition(":")[2]), Link(mbit_s=4)) as link:
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


def test_an_outage_is_waited_for_and_reported(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
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
    first, *_, last = starts(fake)
    assert (first, last >= 500_000, last % 1_000_000 != 0) == (0, True, True)
    here = f"{last / 1e6:.1f} of 1.3 MB"
    reason = r"waiting for the registry: (the connection was interrupted|no answer in time) \([3-9] s\); "
    assert re.fullmatch(reason + re.escape(f"{here} downloaded"), said[0]), said
    assert said[1].startswith("the registry answers again after ")
    assert len(said) == 2


def test_a_link_that_stays_away_is_given_up(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
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


def test_a_silent_link_is_left_for_a_new_connection(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    reported: list[int] = []
    pull = threading.Thread(target=target.write, args=(LAYER_OF_IT, through(proxy, stall_s=0.3), reported.append))
    pull.start()
    wait_until(lambda: sum(reported) > 200_000, what="some of it")
    proxy.silence()
    wait_until(lambda: proxy.describe()["accepted"] > 1, what="another connection")  # else after read_s
    proxy.restore()
    pull.join(30)
    assert (target.has(LAYER_OF_IT), starts(fake)[-1] > 200_000) == (True, True)


def test_the_kernel_watches_connections(fake: FakeRegistry) -> None:
    registry = reach(fake.host)
    registry.has(LAYER_OF_IT)
    port, found = int(fake.host.rpartition(":")[2]), []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(path.name))) as one:
            if one.family == socket.AF_INET and one.getpeername()[1] == port:
                options = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
                alive = one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                found.append([alive, *(one.getsockopt(socket.IPPROTO_TCP, option) for option in options)])
    assert found == [[1, SILENT_S * 1000, 10, 5]]


def test_a_gateway_before_a_registry_that_is_away_is_waited_for(fake: FakeRegistry, target: Layout) -> None:
    def away(request: Request) -> Reply | None:
        return Reply(status=502) if request.number <= 9 else None

    fake.fault = away
    target.write(LAYER_OF_IT, reach(fake.host, pause_s=0.001))
    assert (target.has(LAYER_OF_IT), len(fake.log)) == (True, 10)


def test_a_real_registry_behind_a_link_with_cuts(registry: LocalRegistry, tmp_path: Path) -> None:
    source, index = small_index(tmp_path / "source", CONTENT, architectures=("amd64",))
    host, port = registry.host.split(":")
    there = Registry(Reference(host=registry.host, repository="outage/a"), Access(plain_http=True, config=NOBODY))
    copy_image(source, there, index, name="v1")
    target = create_layout(tmp_path / "target")
    with FaultProxy(host, int(port), Link(mbit_s=8)) as proxy:
        access = Access(plain_http=True, config=NOBODY, pause_s=0.05)
        store = Registry(Reference(host=f"127.0.0.1:{proxy.port}", repository="outage/a"), access)
        descriptor = store.resolve("v1")
        proxy.set(Link(mbit_s=8, schedule=((0.5, "up"), (0.3, "cut"))))
        for _ in range(20):
            with suppress(RegistryError):  # a manifest has its attempts
                copied, _ = copy_image(store, target, descriptor, name="v1")
                break
    assert sum(one.size for one in copied) > SIZE
    check_image(target, target.resolve("v1"))
    assert proxy.bytes_down < 2 * SIZE

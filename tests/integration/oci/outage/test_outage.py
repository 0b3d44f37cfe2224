"""A download over a link that is cut, silent or away, from a registry that fails."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from bench.link.proxy import FaultProxy, Link
from eaves.errors import RegistryError, StoppedError
from eaves.oci.copy import copy_image
from eaves.oci.descriptor import Reference
from eaves.oci.integrity import check_content
from eaves.oci.registry.registry import Registry
from eaves.oci.registry.transport import SILENT_S, Access
from eaves.oci.store.layout import Layout, create_layout
from tests.container_images.registries import LocalRegistry, small_index
from tests.fakes.http.registry import FakeRegistry, Reply, Request
from tests.integration.oci.outage.link_faults import (
    CONTENT,
    LAYER_OF_IT,
    NOBODY,
    SIZE,
    partial_of,
    reach,
    size_of,
    spawn,
    starts,
    through,
)
from tests.waiting import wait_until


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
    reason = said[0].removeprefix("waiting for the registry: ").partition(" (3 s)")[0]
    assert reason in {"the connection was interrupted", "no answer"}, "as the kernel sees it first"
    assert said[0].endswith(f"; {here} downloaded")
    assert said[1].startswith("the registry answers again after ")
    assert len(said) == 2


def test_cuts_that_come_faster_than_a_megabyte(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    proxy.set(Link(mbit_s=4, schedule=((0.6, "up"), (0.1, "cut"))))
    target.write(LAYER_OF_IT, through(proxy))
    assert target.has(LAYER_OF_IT)
    asked = starts(fake)
    assert len(asked) > 3
    assert asked == sorted(asked)
    assert proxy.bytes_down < SIZE + 200_000 * len(asked), "what was under way at a cut is lost, nothing else"


def test_a_link_that_stays_away_is_given_up_and_the_next_pull_continues(
    fake: FakeRegistry, proxy: FaultProxy, target: Layout
) -> None:
    with pytest.raises(
        RegistryError,
        match=r"received no data for .*\((the connection was interrupted|no answer)\), after 0\.\d of 1\.3",
    ) as caught:
        target.write(LAYER_OF_IT, through(proxy, outage_s=0.5), cut_at(proxy, 500_000, []))
    assert "continues the download" in str(caught.value.hint)
    here = size_of(partial_of(target))
    assert here >= 500_000
    assert not target.has(LAYER_OF_IT)
    proxy.restore()
    reported: list[int] = []
    target.write(LAYER_OF_IT, through(proxy), reported.append)
    assert (target.has(LAYER_OF_IT), starts(fake)[-1], sum(reported)) == (True, here, SIZE)
    assert not partial_of(target).exists()


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


def test_a_registry_that_fails_has_its_attempts_and_no_more(fake: FakeRegistry, target: Layout) -> None:
    fake.fault = lambda request: Reply(status=500)
    with pytest.raises(RegistryError, match="answered 500"):
        target.write(LAYER_OF_IT, reach(fake.host, pause_s=0.001))
    assert len(fake.log) == 5
    assert not partial_of(target).exists()


def test_what_is_no_download_has_its_attempts_and_no_more(fake: FakeRegistry, proxy: FaultProxy) -> None:
    proxy.cut()
    began = time.monotonic()
    with pytest.raises(RegistryError, match="can't be reached"):
        through(proxy).resolve("v1")
    assert time.monotonic() - began < 10
    assert proxy.describe()["accepted"] == 5


def test_who_gives_up_does_not_wait_for_the_link(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    process = spawn(target, proxy)
    try:
        wait_until(lambda: size_of(partial_of(target)) > 100_000, 20, what="some of it")
        proxy.cut()
        wait_until(lambda: proxy.describe()["accepted"] > 2, what="an attempt in vain")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert time.monotonic() - began < 3
    assert process.returncode == -signal.SIGINT
    assert size_of(partial_of(target)) > 100_000


def test_a_copy_that_stops_lets_its_partial_files_go(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    """A thread that waits for the link must not hold what the next pull of the same process wants."""
    stop = threading.Event()
    ended: list[Exception] = []

    def progress(size: int) -> None:
        if sum(reported) > 100_000:
            proxy.cut()
        reported.append(size)
        if stop.is_set():
            raise StoppedError("the copy was stopped")

    def pull() -> None:
        try:
            target.write(LAYER_OF_IT, through(proxy), progress)
        except StoppedError as error:
            ended.append(error)

    reported: list[int] = []
    thread = threading.Thread(target=pull)
    thread.start()
    wait_until(lambda: proxy.describe()["accepted"] > 2, what="an attempt in vain")
    stop.set()
    thread.join(5)
    assert ended
    target.write(LAYER_OF_IT, reach(fake.host))
    assert target.has(LAYER_OF_IT)


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
                copied = copy_image(store, target, descriptor, name="v1")
                break
    assert sum(one.size for one in copied.moved) > SIZE
    check_content(target, target.resolve("v1"))
    assert proxy.bytes_down < 2 * SIZE

"""Partial files: pulls that are killed, two at once, other bytes, a full disk, what is swept."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import pytest

from bench.link.proxy import FaultProxy
from eaves.errors import OciError
from eaves.oci.descriptor import LAYER, Descriptor
from eaves.oci.store.layout import Layout, create_layout
from eaves.oci.store.partial import MAX_COUNT
from tests.fakes.http.registry import FakeRegistry, Reply
from tests.integration.oci.outage.link_faults import (
    CONTENT,
    LAYER_OF_IT,
    SIZE,
    partial_of,
    reach,
    size_of,
    spawn,
    starts,
    through,
)
from tests.waiting import wait_until


def test_a_pull_that_was_killed_is_resumed(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    process = spawn(target, proxy)
    try:
        wait_until(lambda: size_of(partial_of(target)) > 200_000, 20, what="some of it")
    finally:
        process.kill()
        process.communicate()
    here = size_of(partial_of(target))
    target.write(LAYER_OF_IT, reach(fake.host))
    assert (target.has(LAYER_OF_IT), starts(fake)) == (True, [0, here])


def test_two_pulls_of_the_same_layer_fetch_it_once(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    reported: list[list[int]] = [[], []]
    pulls = [
        threading.Thread(target=target.write, args=(LAYER_OF_IT, through(proxy), counts.append)) for counts in reported
    ]
    for pull in pulls:
        pull.start()
    for pull in pulls:
        pull.join(30)
    assert (target.has(LAYER_OF_IT), starts(fake), [sum(counts) for counts in reported]) == (True, [0], [SIZE, SIZE])
    assert not partial_of(target).exists()


def test_who_waits_for_another_pull_is_reported(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    process = spawn(target, proxy)
    said: list[str] = []
    waiting = create_layout(target.path, said.append)
    pull = threading.Thread(target=waiting.write, args=(LAYER_OF_IT, reach(fake.host)))
    try:
        wait_until(lambda: size_of(partial_of(target)) > 200_000, 20, what="some of it")
        process.send_signal(signal.SIGSTOP)
        pull.start()
        wait_until(lambda: said, 20, what="the reason")
    finally:
        process.kill()
        process.communicate()
    pull.join(30)
    assert waiting.has(LAYER_OF_IT)
    (line,) = said
    named = re.escape(LAYER_OF_IT.digest[:19])
    assert re.fullmatch(
        rf"waiting for another process that downloads {named} \(\d s\); 0\.\d of 1\.3 MB downloaded", line
    )


def test_who_waits_for_another_pull_takes_over_when_that_is_killed(
    fake: FakeRegistry, proxy: FaultProxy, target: Layout
) -> None:
    process = spawn(target, proxy)
    waited = threading.Event()
    pull = threading.Thread(target=target.write, args=(LAYER_OF_IT, reach(fake.host), lambda _: waited.set()))
    try:
        wait_until(lambda: size_of(partial_of(target)) > 200_000, 20, what="some of it")
        pull.start()
        assert waited.wait(10)
        assert len(starts(fake)) == 1
    finally:
        process.kill()
        process.communicate()
    pull.join(30)
    assert (target.has(LAYER_OF_IT), len(starts(fake))) == (True, 2)
    assert starts(fake)[1] > 200_000


@pytest.mark.parametrize("left", [CONTENT[:700_000] + b"?", b"?" * SIZE, CONTENT + b"more", b""])
def test_a_partial_file_with_other_bytes(fake: FakeRegistry, target: Layout, left: bytes) -> None:
    partial_of(target).write_bytes(left)
    reported: list[int] = []
    target.write(LAYER_OF_IT, reach(fake.host), reported.append)
    assert target.blob_path(LAYER_OF_IT.digest).read_bytes() == CONTENT
    assert (sum(reported), starts(fake)[-1]) == (SIZE, 0)
    assert not partial_of(target).exists()


def test_a_partial_file_that_is_whole_needs_no_registry(fake: FakeRegistry, target: Layout) -> None:
    partial_of(target).write_bytes(CONTENT)
    target.write(LAYER_OF_IT, reach(fake.host))
    assert (target.has(LAYER_OF_IT), fake.log) == (True, [])


@pytest.mark.parametrize("answer", ["all of it", "not satisfiable"])
def test_a_registry_that_knows_no_ranges(fake: FakeRegistry, target: Layout, answer: str) -> None:
    partial_of(target).write_bytes(CONTENT[:900_001])
    fake.ranges = False
    if answer == "not satisfiable":
        fake.fault = lambda request: Reply(status=416) if "Range" in request.headers else None
    target.write(LAYER_OF_IT, reach(fake.host))
    assert target.blob_path(LAYER_OF_IT.digest).read_bytes() == CONTENT


def test_content_that_is_altered_at_the_registry_leaves_nothing(fake: FakeRegistry, target: Layout) -> None:
    fake.content.blobs[LAYER_OF_IT.digest] = CONTENT[:-1] + b"?"
    partial_of(target).write_bytes(CONTENT[:900_001])
    with pytest.raises(OciError, match="wrong digest or size"):
        target.write(LAYER_OF_IT, reach(fake.host))
    assert starts(fake) == [900_001, 0]
    assert not [path for path in (target.path / "blobs").rglob("*") if path.is_file()]


@pytest.mark.disk
def test_a_disk_without_room_is_said_before_anything_is_fetched(fake: FakeRegistry, target: Layout) -> None:
    huge = Descriptor(media_type=LAYER, digest=LAYER_OF_IT.digest, size=1 << 60)
    with pytest.raises(OciError, match=r"MB free, but .* MB are needed") as caught:
        target.write(huge, reach(fake.host))
    assert "free space on this disk" in str(caught.value.hint)
    assert fake.log == []
    assert not partial_of(target).exists()


def test_partial_files_that_nobody_wants_are_swept(target: Layout) -> None:
    folder = target.path / "blobs/sha256"
    paths = [folder / f".part-{number:064x}" for number in range(MAX_COUNT + 4)]
    for number, path in enumerate(paths):
        path.write_bytes(b"x")
        at = time.time() - 60 * number - (8 * 24 * 3600 if number == 3 else 0)
        os.utime(path, (at, at))
    create_layout(target.path)
    assert [number for number, path in enumerate(paths) if path.exists()] == [0, 1, 2, 4, 5, 6, 7, 8]


def test_what_somebody_writes_is_not_swept(fake: FakeRegistry, proxy: FaultProxy, target: Layout) -> None:
    swept = threading.Event()

    def progress(size: int) -> None:
        if size and not swept.is_set():
            os.utime(partial_of(target), (0, 0))
            create_layout(target.path)
            swept.set()

    target.write(LAYER_OF_IT, through(proxy), progress)
    assert (target.has(LAYER_OF_IT), starts(fake)) == (True, [0])

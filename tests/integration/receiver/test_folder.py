"""A receiver that writes what it receives into a folder."""

import hashlib
import json
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eaves.base.backoff import Backoff
from eaves.delivery import Deliverer
from eaves.errors import StatusError, StorageError
from eaves.events import Event
from eaves.federation_events import (
    FEDERATION_JUDGEMENT,
    FEDERATION_SUMS,
    SiteFile,
    build_federation_event,
    parse_file_name,
)
from eaves.link.archive import Archive
from eaves.link.client import LinkClient
from eaves.spool import Entry, Spool
from tests.fakes.clock import FrozenClock
from tests.processes.receiving import SITE, captured, classified, receiving, write_site
from tests.waiting import wait_until

MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC).timestamp()


def entry(number: int, event: Event, at: float = MIDNIGHT) -> Entry:
    return Entry(seq=number, lane="sink", event=event, attempts=0, first_put_at=at, size_bytes=0)


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def list_ids(path: Path) -> list[object]:
    return [line["id"] for line in read_lines(path)]


def test_events_are_lines_and_images_are_files(tmp_path: Path):
    folder = tmp_path / "received"
    with receiving(tmp_path, folder=folder) as receiver, receiver.sender() as sender:
        sender.send([captured(1), classified(1), captured(2, kind="image/png"), captured(3, data=b"")])
        wait_until(lambda: receiver.queued() == 0, what="an empty queue")
        sender.send([captured(1), classified(2)])
        wait_until(lambda: receiver.queued() == 0, what="an empty queue")
        (path,) = folder.glob("events-*.jsonl")
        lines = read_lines(path)
        assert [line["id"] for line in lines] == [captured(1).id, "id-1", captured(2).id, captured(3).id, "id-2"]
        assert str(lines[0]["dataref"]).startswith("images/mill/")
        assert (folder / str(lines[0]["dataref"])).read_bytes() == captured(1).data
        assert str(lines[2]["dataref"]).endswith(".png")
        assert "dataref" not in lines[3]
        assert lines[1]["data"] == classified(1).json()
        assert receiver.report()["report"]["lanes"][0]["attempts"]["delivered"] == 5


def test_images_that_a_site_has_chosen_are_photos_of_the_dataset_too(tmp_path: Path):
    dataset, data = tmp_path / "photos", b"\xff\xd8\xff a picture"
    sent = [
        captured(1, data=data).with_extensions(chosen="unsure"),
        captured(2, data=b"\xff\xd8\xff another").with_extensions(chosen="audit"),
        captured(3, data=data).with_extensions(chosen="unsure"),
        captured(4, data=b"\xff\xd8\xff not chosen"),
        captured(5, data=b"no picture").with_extensions(chosen="unsure"),
    ]
    with receiving(tmp_path, folder=tmp_path / "received", dataset=dataset) as receiver, receiver.sender() as sender:
        sender.send(sent)
        wait_until(lambda: receiver.queued() == 0, what="an empty queue")
    photos = sorted(path.relative_to(dataset) for path in dataset.rglob("*.jpg"))
    assert [str(path).rpartition("-")[0] for path in photos] == ["audit/audit-mill-gate", "unsure-mill-gate"]
    (day,) = (tmp_path / "received").glob("events-*.jsonl")
    assert list_ids(day) == [one.id for one in sent]


def sums(number: int, *, site: str = SITE, data: bytes = b"sums", **fields: Any) -> Event:
    return replace(build_federation_event(site, "flowers", FEDERATION_SUMS, number, data), **fields)


def test_what_sites_send_for_a_federation_is_in_files_that_no_other_site_can_write(tmp_path: Path):
    folder = tmp_path / "received"
    judgement = build_federation_event(SITE, "flowers", FEDERATION_JUDGEMENT, 8, b'{"groups":1}')
    refused = [
        sums(9, site="harbour"),
        sums(9, source="/eaves/mill/../x"),
        sums(9, subject="../../9-0123456789abcdef"),
        replace(sums(9), data=b"other"),
    ]
    with receiving(tmp_path, folder=folder) as receiver, receiver.sender() as sender:
        assert [one.status for one in sender.send(refused).refused] == [403, 400, 400, 400]
        assert sender.send([sums(7), judgement, sums(7)]).stored == 2
        wait_until(lambda: receiver.queued() == 0, what="an empty queue")
        (day,) = folder.glob("events-*.jsonl")
        found = {str(line["dataref"]): line.get("data") for line in read_lines(day)}
    digests = [hashlib.sha256(one.data).hexdigest()[:16] for one in (sums(7), judgement)]
    first = f"federation/flowers/sums/mill-7-{digests[0]}.npz"
    second = f"federation/flowers/judgements/mill-8-{digests[1]}.json"
    assert found == {first: None, second: None}
    assert [(folder / name).read_bytes() for name in found] == [b"sums", b'{"groups":1}']
    assert len(list((folder / "federation").rglob("*.*"))) == 2
    assert parse_file_name(Path(first).name) == SiteFile(site="mill", sequence=7, digest=digests[0])
    assert parse_file_name(f".{Path(first).name}.tmp") is None


def test_a_site_gets_the_merged_head_once(tmp_path: Path):
    write_site(tmp_path / "sites")
    write_site(tmp_path / "link", "token")
    folder, digest = tmp_path / "received", hashlib.sha256(b"head").hexdigest()
    with (
        receiving(tmp_path, tls=False, folder=folder) as receiver,
        closing(LinkClient(f"http://127.0.0.1:{receiver.port}", tmp_path / "link")) as client,
    ):
        assert client.fetch_head("flowers") is None
        assert client.fetch_head("../sites") is None
        (folder / "federation" / "flowers").mkdir(parents=True)
        (folder / "federation" / "flowers" / "head.npz").write_bytes(b"head")
        assert client.fetch_head("flowers") == client.fetch_head("flowers", "0" * 64) == b"head"
        assert client.fetch_head("flowers", digest) is None
        (tmp_path / "link" / "token").write_text("a token of somebody else")
        with pytest.raises(StatusError, match="401"):
            client.fetch_head("flowers", digest)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..", "x" * 4_000, "ünïcode"])
def test_an_id_can_not_lead_out_of_the_folder(tmp_path: Path, name: str):
    one = Event(id=name, source="/eaves/mill/../x", type="t", datacontenttype="image/jpeg", data=b"1")
    another = Event(id=name, source="/eaves/mill/y", type="t", datacontenttype="image/jpeg", data=b"2")
    Archive(tmp_path / "received").write([entry(1, one), entry(2, another)])
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.parent for path in files[1:]] == [tmp_path / "received" / "images" / "mill"] * 2
    assert {path.read_bytes() for path in files[1:]} == {b"1", b"2"}


def test_a_clock_that_jumps_across_midnight_and_back_writes_no_event_twice(tmp_path: Path):
    archive = Archive(tmp_path)
    times = [MIDNIGHT, MIDNIGHT - 60, MIDNIGHT + 1]
    entries = [entry(number, classified(number), at) for number, at in enumerate(times)]
    archive.write(entries)
    archive.write(entries)  # they could not be released
    Archive(tmp_path).write(entries)
    assert list_ids(tmp_path / "events-2026-11-26.jsonl") == ["id-0", "id-2"]
    assert list_ids(tmp_path / "events-2026-11-25.jsonl") == ["id-1"]


@pytest.mark.parametrize("cut", [1, 300])
def test_a_line_that_was_not_written_to_its_end_is_written_again(tmp_path: Path, cut: int):
    entries = [entry(number, classified(number)) for number in range(5)]
    Archive(tmp_path).write(entries)
    path = tmp_path / "events-2026-11-26.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    Archive(tmp_path).write(entries)
    assert path.read_bytes() == whole


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What writes beyond this many bytes into a file fails half-way, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path):
    archive = Archive(tmp_path)
    path = tmp_path / "events-2026-11-26.jsonl"
    archive.write([entry(0, classified(0))])
    before = path.read_bytes()
    entries = [entry(number, classified(number)) for number in range(1, 10)]
    with files_of_at_most(len(before) * 4 - 20), pytest.raises(StorageError):
        archive.write(entries)
    assert path.read_bytes() == before
    with files_of_at_most(10), pytest.raises(StorageError):
        archive.write([entry(10, captured(10, data=b"1" * 100))])
    assert path.read_bytes() == before
    archive.write([*entries, entry(10, captured(10))])
    assert list_ids(path) == [*(f"id-{number}" for number in range(10)), captured(10).id]


def test_events_that_waited_for_the_disk_are_in_the_order_of_arrival(tmp_path: Path):
    path = tmp_path / "events-2026-11-26.jsonl"
    pauses = Backoff(retry=None, first_s=0.001, cap_s=0.01)
    with Spool(tmp_path / "spool.db", clock=FrozenClock(MIDNIGHT)) as spool:
        deliverer = Deliverer(spool, "sink", Archive(tmp_path), backoff=pauses)
        deliverer.start()
        try:
            for first in range(0, 80, 10):
                path.mkdir()  # nothing can be written
                tried = deliverer.status().attempts.get("retried", 0)
                spool.put_many([(classified(first + number), ("sink",)) for number in range(10)])
                wait_until(lambda: deliverer.status().attempts.get("retried", 0) > tried + 2)  # noqa: B023
                path.rmdir()
                wait_until(lambda: spool.depth() == 0)
                assert list_ids(path) == [f"id-{first + number}" for number in range(10)]
                path.unlink()
        finally:
            assert deliverer.stop(5)


def test_a_folder_that_can_not_be_made_is_reported_at_the_start(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), receiving(tmp_path, tls=False, folder=tmp_path / "file" / "received"):
        pass

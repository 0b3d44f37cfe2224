"""The file of thumbnails: bounded, and it may be lost."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.console.thumbnails.store import MAX_PREDICTIONS, ThumbnailStore, digest_of
from eaves.history import Record
from tests.fakes.console.material import build_flow, captured_event, classified_event, record_of

JPEG = random.Random(3).randbytes(12_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "thumbnails.db"


def captured(number: int) -> Record:
    return record_of(captured_event(number, data=b"x"), number)


def key(record: Record) -> str:
    return digest_of(*record.image)


def size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def test_an_image_is_kept_with_its_event_and_predictions(path: Path) -> None:
    store, flow = ThumbnailStore(path), build_flow(2, with_images=False)
    first, prediction, second, late = flow.records
    assert store.put(first, JPEG, [prediction])
    assert store.put(second, JPEG + b"2")
    store.attach(late)
    store.attach(late)
    store.attach(record_of(classified_event(captured_event(9)), 9))
    newest, oldest = store.kept()
    assert (oldest.digest, oldest.subject) == (digest_of(first.source, first.id), first.subject)
    assert (oldest.seq, oldest.at, oldest.predictions) == (1, first.at, (prediction,))
    assert (newest.seq, newest.predictions) == (3, (late,))
    assert store.get(key(second)) == store.get(key(late)) == JPEG + b"2"
    assert [one.seq for one in store.kept(limit=1)] == [3]
    assert [one.seq for one in store.kept(before=newest.number)] == [1]
    assert store.kept(before=-(2**70)) == []
    store.close()
    with contextlib.closing(ThumbnailStore(path)) as again:
        assert again.kept() == [newest, oldest]


def test_kept_images_are_in_the_order_of_their_events_whenever_they_were_kept(path: Path) -> None:
    store, flow = ThumbnailStore(path), build_flow(5, with_images=False)
    for position in (2, 8, 0, 6, 4):
        store.put(flow.records[position], JPEG)
    assert [one.seq for one in store.kept()] == [9, 7, 5, 3, 1]
    pages, before = [], None
    while page := store.kept(before=before, limit=2):
        pages.append([one.seq for one in page])
        before = page[-1].number
    assert pages == [[9, 7], [5, 3], [1]]


def test_an_image_that_is_kept_again_stays_as_it_is(path: Path) -> None:
    store, flow = ThumbnailStore(path), build_flow(1, with_images=False)
    store.put(flow.records[0], JPEG)
    store.put(replace(flow.records[0], seq=7), b"other", [flow.records[1]])
    (kept,) = store.kept()
    assert (kept.seq, store.get(kept.digest), kept.predictions) == (1, JPEG, (flow.records[1],))


def test_an_image_that_can_not_be_decoded_is_remembered_as_such(path: Path) -> None:
    store = ThumbnailStore(path)
    store.put(captured(1), None)
    store.put(captured(2), JPEG)
    digests = [key(captured(number)) for number in (1, 2, 3)]
    assert store.find(digests) == {digests[0]: False, digests[1]: True}
    assert store.get(digests[0]) is None
    assert [one.seq for one in store.kept()] == [2]


def test_the_number_of_predictions_of_one_image_is_bounded(path: Path) -> None:
    store, cause = ThumbnailStore(path), captured_event(1, data=b"x")
    replies = [record_of(classified_event(cause, function=f"f{number}"), number + 2) for number in range(20)]
    store.put(record_of(cause, 1), JPEG, replies[:5])
    for reply in replies[5:]:
        store.attach(reply)
    assert store.kept()[0].predictions == tuple(replies[:MAX_PREDICTIONS])


def test_the_file_stays_within_its_bound_and_the_oldest_images_go(path: Path) -> None:
    store = ThumbnailStore(path, max_bytes=1_000_000)
    for number in range(1, 600):
        cause = captured_event(number, data=b"x")
        store.put(record_of(cause, number), JPEG, [record_of(classified_event(cause), number)])
        assert number % 50 or size_bytes(path) < 1_000_000 + 2_500_000
    kept = [one.seq for one in store.kept(limit=1_000)]
    assert 50 < len(kept) < 100
    assert kept == list(range(599, 599 - len(kept), -1))
    store.close()
    assert size_bytes(path) < 1_100_000
    with contextlib.closing(ThumbnailStore(path, max_bytes=200_000)) as smaller:
        for number in range(600, 640):
            smaller.put(captured(number), JPEG)
        assert len(smaller.kept(limit=1_000)) < 20
    assert size_bytes(path) < 300_000


def test_an_image_is_kept_with_all_of_its_predictions_or_not_at_all(path: Path) -> None:
    store, flow = ThumbnailStore(path), build_flow(1, with_images=False)
    unusable = replace(flow.records[1], at=object())  # type: ignore[arg-type]
    assert not store.put(flow.records[0], JPEG, [unusable])
    assert store.kept() == []
    assert store.put(flow.records[0], JPEG, flow.records[1:])

"""Thumbnails for pages: kept ones in a bounded file that may be lost, and those that are made when a page asks."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from eaves.console.thumbnails import RECENT_S, Gallery, digest_of
from tests.fakes.clock import ManualClock
from tests.fakes.console.material import Flow, build_flow, captured_event, record_of, small_jpeg


class RecentImages:
    """What a platform holds; counts the requests."""

    def __init__(self, flow: Flow) -> None:
        self.held = dict(flow.images)
        self.asked = 0

    def __call__(self, source: str, event_id: str) -> bytes | None:
        self.asked += 1
        return self.held.get((source, event_id))


@pytest.fixture
def flow() -> Flow:
    return build_flow(3)


@pytest.fixture
def recent(flow: Flow) -> RecentImages:
    return RecentImages(flow)


@pytest.fixture
def gallery(tmp_path: Path, recent: RecentImages) -> Gallery:
    return Gallery(tmp_path / "thumbnails.db", recent, clock=ManualClock())


def test_a_thumbnail_is_made_once_and_kept(gallery: Gallery, flow: Flow, recent: RecentImages, tmp_path: Path):
    captured, prediction = flow.records[:2]
    made = gallery.thumbnail(captured)
    assert made is not None
    recent.held.clear()
    assert gallery.thumbnail(captured) == made
    gallery.close()
    with contextlib.closing(Gallery(tmp_path / "thumbnails.db", recent)) as again:
        assert again.kept_thumbnail(digest_of(*prediction.image)) == made
    assert recent.asked == 1


def test_kept_and_recent_images_are_shown_and_one_that_can_not_be_decoded_is_fetched_once(
    gallery: Gallery, flow: Flow, recent: RecentImages
):
    broken = flow.records[2]
    recent.held[broken.identity] = b"<html>"
    gallery.thumbnail(flow.records[0])
    assert gallery.thumbnail(broken) is gallery.thumbnail(broken) is None
    assert recent.asked == 2
    assert gallery.find_shown(flow.records) == {1, 2, 5, 6}
    old = [replace(record, at=record.at - RECENT_S - 10) for record in flow.records]
    assert gallery.find_shown(old) == {1, 2}


def test_the_file_stays_within_its_bound_and_the_oldest_images_go(tmp_path: Path):
    path, picture = tmp_path / "thumbnails.db", small_jpeg(width=320, height=320)

    def keep(gallery: Gallery, numbers: range) -> list[int]:
        records = {number: record_of(captured_event(number, data=b"x"), number) for number in numbers}
        for record in records.values():
            gallery.thumbnail(record)
        known = gallery.find([digest_of(*one.identity) for one in records.values()])
        return [number for number, one in records.items() if digest_of(*one.identity) in known]

    def size_bytes() -> int:
        return sum(file.stat().st_size for file in tmp_path.glob("thumbnails.db*"))

    with contextlib.closing(Gallery(path, lambda *_: picture, max_bytes=200_000)) as gallery:
        kept = keep(gallery, range(200))
        assert size_bytes() < 200_000 + 2_500_000
    assert 10 < len(kept) < 100
    assert kept == list(range(200 - len(kept), 200))
    assert size_bytes() < 250_000

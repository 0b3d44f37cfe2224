"""Thumbnails for pages: kept ones, and those that are made when a page asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eaves.console.thumbnails.gallery import RECENT_S, Gallery, has_image
from eaves.console.thumbnails.store import ThumbnailStore, digest_of
from eaves.events import TENSOR_CAPTURED, TENSOR_PREDICTED
from tests.fakes.clock import ManualClock
from tests.fakes.console.material import Flow, build_flow


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
    return Gallery(ThumbnailStore(tmp_path / "thumbnails.db"), recent, clock=ManualClock())


def test_a_thumbnail_is_made_once_and_kept(gallery: Gallery, flow: Flow, recent: RecentImages) -> None:
    captured, prediction = flow.records[:2]
    made = gallery.thumbnail(captured)
    assert made is not None
    recent.held.clear()
    assert gallery.thumbnail(captured) == made
    assert gallery.kept_thumbnail(digest_of(*prediction.image)) == made
    assert recent.asked == 1
    assert gallery.keep(captured, [prediction]) == made
    assert gallery.kept()[0].predictions == (prediction,)


def test_an_image_that_is_not_held_has_no_thumbnail_until_it_comes(
    gallery: Gallery, flow: Flow, recent: RecentImages
) -> None:
    captured = flow.records[0]
    held = recent.held.pop(captured.identity)
    assert gallery.thumbnail(captured) is None
    recent.held[captured.identity] = held
    assert gallery.thumbnail(captured) is not None
    assert gallery.image(*captured.identity) == held


def test_an_image_that_can_not_be_decoded_is_fetched_once(gallery: Gallery, flow: Flow, recent: RecentImages) -> None:
    captured = flow.records[0]
    recent.held[captured.identity] = b"<html>"
    assert gallery.thumbnail(captured) is gallery.thumbnail(captured) is None
    assert recent.asked == 1
    assert gallery.kept() == []


def test_kept_and_recent_images_are_shown(gallery: Gallery, flow: Flow, recent: RecentImages) -> None:
    broken = flow.records[2]
    recent.held[broken.identity] = b"<html>"
    gallery.thumbnail(flow.records[0])
    gallery.thumbnail(broken)
    assert gallery.find_shown(flow.records) == {1, 2, 5, 6}
    old = [replace(record, at=record.at - RECENT_S - 10) for record in flow.records]
    assert gallery.find_shown(old) == {1, 2}


def test_events_without_an_image_are_not_shown(flow: Flow) -> None:
    captured, prediction = flow.records[:2]
    assert [has_image(captured), has_image(prediction)] == [True, True]
    assert has_image(replace(captured, type="com.acme.photo"))
    assert not has_image(replace(captured, type=TENSOR_CAPTURED, text="[1, 2]"))
    assert not has_image(replace(captured, size_bytes=0))
    assert not has_image(replace(prediction, type=TENSOR_PREDICTED))

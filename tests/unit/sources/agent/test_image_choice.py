"""What an agent chooses for labelling: a uniform audit sample, and unsure images within a budget."""

import io
import json
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from eaves.events import AUDIT, IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_EMBEDDED, IMAGE_REJECTED, UNSURE, Event
from eaves.sources.agent.image_choice import find_candidate, hash_image, is_audit
from eaves.sources.settings import IMAGES, REPLIES
from eaves.spool import Spool
from eaves.spool.image_choice import HOUR_S, TABLES, Candidate, ChoiceCounts, ChoiceLimits, choose
from eaves.spool.schema import run
from tests.fakes.clock import ManualClock

DAY = 20_000
"""A day, counted from 1970-01-01."""
LIMITS = ChoiceLimits(audit_percent=0.0, images_per_hour=6, bytes_per_day=10**9)
CAMERA = "/eaves/home/camera"


class Seen(NamedTuple):
    """An image of a simulated day: when it comes, the class that is predicted, and the margin."""

    at: float
    label: str
    margin: float


def simulate(traffic: list[Seen], limits: ChoiceLimits = LIMITS) -> list[Seen]:
    """Return what is chosen of the traffic as unsure; no image looks like another one."""
    rng, chosen = np.random.default_rng(40), []
    with sqlite3.connect(":memory:", isolation_level=None) as db:
        run(db, TABLES)
        for number, seen in enumerate(traffic):
            candidate = Candidate(
                image=Event(id=str(number), source=CAMERA, type=IMAGE_CAPTURED, data=b"x" * 1000),
                lanes=(REPLIES,),
                why=UNSURE,
                label=seen.label,
                margin=seen.margin,
                limits=limits,
                hash=int(rng.integers(-(2**63), 2**63)),
            )
            if seen.margin < 0.9 and choose(db, candidate, seen.at):
                chosen.append(seen)
    return chosen


def make_day(label: str, every_s: float, scale: tuple[float, float] = (1.0, 1.0)) -> list[Seen]:
    """Return a day of images with uniform margins, which are multiplied by one number before noon, another after."""
    rng = np.random.default_rng(len(label))
    times = np.arange(0, 24 * HOUR_S, every_s)
    margins = rng.random(len(times)) * np.where(times < 12 * HOUR_S, *scale)
    return [Seen(DAY * 86_400 + at, label, margin) for at, margin in zip(times, margins, strict=True)]


def test_a_day_of_each_class_costs_its_budget_whatever_the_traffic_and_the_camera_do():
    """At noon all images of roses become unsure; daisies are so rare that the budget is for all that are unsure."""
    roses, daisies = make_day("rose", 20, (1.0, 0.05)), make_day("daisy", 1500)
    chosen = simulate(sorted([*roses, *daisies]))
    assert [one for one in chosen if one.label == "daisy"] == [one for one in daisies if one.margin < 0.9]
    taken = [one for one in chosen if one.label == "rose"]
    noon = DAY * 86_400 + 12 * HOUR_S
    for begin in range(24):
        times = [one.at - DAY * 86_400 for one in taken]
        within = sum(begin * HOUR_S <= at < (begin + 1) * HOUR_S for at in times)
        assert within <= 2 * LIMITS.images_per_hour, "of which one hour's worth was saved"
    for half in ([one for one in taken if one.at < noon], [one for one in taken if one.at >= noon]):
        assert 0.6 * 12 * 6 <= len(half) <= 13 * 6
    before = [one.margin for one in taken if HOUR_S < one.at - DAY * 86_400 < 12 * HOUR_S]
    assert max(before) < 0.2, "the smallest of 180 uniform margins an hour"
    assert np.mean(before) < 0.05


def test_the_bytes_of_a_day_are_not_exceeded_and_what_they_cut_is_counted():
    limits = replace(LIMITS, images_per_hour=3600, bytes_per_day=20_500)
    assert len(simulate(make_day("rose", 120), limits)) == 20


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(DAY * 86_400.0)


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Iterator[Spool]:
    with Spool(tmp_path / "agent.db", clock=clock) as opened:
        yield opened


def encode(image: Image.Image, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def draw(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)).resize((160, 120))


def capture(number: int, data: bytes, source: str = CAMERA) -> Event:
    event = Event(id=f"id-{number}", source=source, type=IMAGE_CAPTURED, datacontenttype="image/jpeg")
    return replace(event, data=data, subject=f"{number}.jpg")


def predict(margin: Any, label: str = "rose", kind: str = IMAGE_CLASSIFIED) -> Event:
    attributes = {"label": label, "confidence": "low", "model": "flowers", "modelversion": "2", "causeid": "x"}
    data = json.dumps({"margin": margin}).encode()
    return Event(id="reply", source="/eaves/home/flowers", type=kind, data=data, extensions=attributes)


def settle(spool: Spool, image: Event, reply: Event, limits: ChoiceLimits = LIMITS) -> list[Event]:
    """Release an image as an agent does; return those that were chosen because of it."""
    find = partial(find_candidate, limits, lambda image, reply: (REPLIES,))
    spool.put(image, lanes=(IMAGES,))
    (entry,) = spool.peek(IMAGES)
    candidate = find(image, reply)
    assert find(image, reply) == candidate, "a repetition after a kill is decided in the same way"
    before = spool.depth(REPLIES)
    for _ in range(2):  # the second time, the entry was released before
        spool.ack(entry, candidate=candidate)
    return [one.event for one in spool.peek(REPLIES, limit=100)][before:]


def test_a_chosen_image_says_why_and_what_was_predicted(spool: Spool):
    image = capture(1, encode(draw(1)))
    (chosen,) = settle(spool, image, predict(0.25))
    attributes = {"label": "rose", "confidence": "low", "model": "flowers", "modelversion": "2"}
    assert chosen == image.with_extensions(chosen=UNSURE, chosenscore="0.250000", **attributes)
    assert spool.choices() == (ChoiceCounts(label="rose", unsure=1, size_bytes=len(image.data)),)


def test_an_image_that_looks_like_a_chosen_one_of_its_camera_is_left_out_for_an_hour(spool: Spool, clock: ManualClock):
    first, other = draw(1), draw(2)
    assert settle(spool, capture(1, encode(first)), predict(0.5))
    brighter = encode(ImageEnhance.Brightness(first).enhance(1.1), quality=60)
    assert not settle(spool, capture(2, brighter), predict(0.4))
    assert settle(spool, capture(3, brighter, "/eaves/home/other"), predict(0.3))
    assert settle(spool, capture(4, brighter), predict(0.3, "daisy"))
    assert settle(spool, capture(5, encode(other)), predict(0.2))
    clock.turn(HOUR_S + 1)
    assert settle(spool, capture(6, brighter), predict(0.4))
    assert {one.label: (one.unsure, one.near_duplicates) for one in spool.choices()} == {
        "rose": (4, 1),
        "daisy": (1, 0),
    }


def test_a_scene_that_stays_hides_no_other_one(spool: Spool, clock: ManualClock):
    scene = encode(draw(1))
    for number in range(30):
        assert len(settle(spool, capture(number, scene), predict(0.01 + number / 1000))) == (number == 0)
        clock.turn(60)
    assert settle(spool, capture(99, encode(draw(2))), predict(0.5)), "with a larger margin than each of 30"


def test_the_budget_is_each_class_own_and_is_there_again_after_a_restart(spool: Spool, clock: ManualClock):
    few = replace(LIMITS, images_per_hour=1)
    assert settle(spool, capture(1, encode(draw(1))), predict(0.5), few)
    assert not settle(spool, capture(2, encode(draw(2))), predict(0.4), few)
    assert settle(spool, capture(3, encode(draw(3))), predict(0.4, "daisy"), few)
    with Spool(spool.path, clock=clock) as again:
        assert not settle(again, capture(4, encode(draw(4))), predict(0.3), few)
        assert {one.label: (one.unsure, one.over_budget) for one in again.choices()} == {
            "daisy": (1, 0),
            "rose": (1, 2),
        }
        clock.turn(24 * HOUR_S)
        assert again.choices() == (), "of today"


def test_a_clock_that_was_wrong_and_is_set_back_stops_nothing(spool: Spool, clock: ManualClock):
    few = replace(LIMITS, images_per_hour=1)
    clock.turn(365 * 86_400)
    assert settle(spool, capture(1, encode(draw(1))), predict(0.5), few)
    clock.turn(-365 * 86_400)
    assert settle(spool, capture(2, encode(draw(1))), predict(0.6), few)
    assert not settle(spool, capture(3, encode(draw(3))), predict(0.4), few)


def test_the_audit_sample_is_uniform_and_only_the_bytes_of_the_day_limit_it(spool: Spool):
    share, count = 0.02, 20_000
    images = [capture(number, b"") for number in range(count)]
    found = sum(is_audit(one, 100 * share) for one in images)
    assert abs(found - share * count) < 4 * math.sqrt(count * share * (1 - share))
    data = encode(draw(1))
    limits = ChoiceLimits(audit_percent=100.0, images_per_hour=1, bytes_per_day=20 * len(data))
    chosen = [settle(spool, capture(number, data), predict(1.0 if number % 2 else 0.0), limits) for number in range(25)]
    assert [len(one) for one in chosen] == [1] * 20 + [0] * 5, "without budget, near-duplicates and margin"
    assert {one.extensions["chosen"] for (one,) in chosen[:20]} == {AUDIT}
    (counts,) = spool.choices()
    assert (counts.audit, counts.over_bytes) == (20, 5)


@pytest.mark.parametrize(
    "reply",
    [
        predict(0.95),
        predict(None),
        predict("0.1"),
        predict(-0.1),
        predict(math.nan),
        predict(0.1, kind=IMAGE_EMBEDDED),
        predict(0.1, kind=IMAGE_REJECTED),
        replace(predict(0.1), data=b"[]"),
        replace(predict(0.1), data=b"\xff"),
    ],
)
def test_what_a_model_is_sure_of_or_says_no_margin_of_is_not_chosen(spool: Spool, reply: Event):
    assert not settle(spool, capture(1, encode(draw(1))), reply)
    assert spool.choices() == ()


def test_bytes_that_are_no_picture_are_not_chosen(spool: Spool):
    assert not settle(spool, capture(1, b"\xff\xd8\xff cut off"), predict(0.1))
    every = replace(LIMITS, audit_percent=100.0)
    assert not settle(spool, capture(2, b"numbers for a handler.py"), predict(0.1), every)


def test_a_hash_is_a_number_that_the_spool_can_keep():
    hashes = [hash_image(encode(draw(seed))) for seed in range(50)]
    assert all(one is not None and -(2**63) <= one < 2**63 for one in hashes)
    assert len({one for one in hashes if one is not None and one < 0}) > 10

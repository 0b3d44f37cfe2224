"""Large images that leave the site wait in the spool until they are in their bucket; nothing else waits for it."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eaves.base.backoff import Backoff
from eaves.delivery import Deliverer, SinkClient
from eaves.errors import EavesError, ForbiddenError, UnreachableError
from eaves.events import IMAGE_CLASSIFIED, Event
from eaves.sources.agent.deliverers import ClaimBucket, UploadSender, build_deliverers, choose_lanes
from eaves.sources.context import Frame
from eaves.sources.files import build_capture
from eaves.sources.settings import FORWARDS, IMAGES, REPLIES, UPLOADS, AgentSettings
from eaves.spool import Selection, Spool
from eaves.spool.admin import redrive
from tests.fakes.bucket import DictBucket
from tests.inputs.settings import settings_from
from tests.waiting import wait_until

SOURCE, OVER_BYTES = "/eaves/test/cam", 100
OTHER = "/eaves/test/other"
SMALL, LARGE = b"\xff\xd8\xff" + bytes(97), b"\xff\xd8\xff" + bytes(98)
EDGE = {"function": "http://127.0.0.1:9/"}
CLOUD = {"function": "https://cloud.example/", "function_credentials": "/link"}


class GatedBucket(DictBucket):
    """A bucket whose requests to store an object wait for `gate`, and fail with `error` while it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.error: EavesError | None = None
        self.puts: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def put(self, key: str, data: bytes, *, content_type: str) -> str:
        self.puts.append(key)
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        assert content_type == "image/jpeg"
        return super().put(key, data, content_type=content_type)

    def abort(self) -> None:
        self.error = UnreachableError("it stops")
        self.gate.set()


def make_image(data: bytes = LARGE, source: str = SOURCE, identity: str = "1") -> Event:
    return replace(build_capture(Frame(data=data, position="p"), source=source, camera="cam"), id=identity)


def make_settings(**values: Any) -> AgentSettings:
    return settings_from(AgentSettings, values)


def make_claims(bucket: GatedBucket, prefix: str = "") -> dict[str, ClaimBucket]:
    return {SOURCE: ClaimBucket(bucket=bucket, over_bytes=OVER_BYTES, prefix=prefix)}


@contextmanager
def delivering(folder: Path, claims: dict[str, ClaimBucket], **values: Any) -> Iterator[Spool]:
    """An agent's spool with its deliverers; the sink can't be reached."""
    with Spool(folder / "agent.db") as spool, SinkClient() as client:
        deliverers = build_deliverers(make_settings(**values), spool, client, {}, None, claims)
        for deliverer in deliverers:
            deliverer.start()
        try:
            yield spool
        finally:
            assert all(deliverer.stop(3) for deliverer in deliverers)


REPLIES_OF = {
    level: Event(id="r", source="/f", type=IMAGE_CLASSIFIED, extensions={"confidence": level})
    for level in ("low", "high")
}


@pytest.mark.parametrize(
    ("settings", "captured", "low", "high"),
    [
        ({}, UPLOADS, None, None),
        (CLOUD, UPLOADS, None, None),
        ({**EDGE, "forward_images": "none"}, IMAGES, None, None),
        ({**EDGE, "forward_images": "low"}, IMAGES, FORWARDS, None),
        ({**EDGE, "forward_images": "all"}, IMAGES, FORWARDS, FORWARDS),
    ],
)
def test_one_policy_decides_which_images_leave_the_site_and_how(
    settings: dict[str, str], captured: str, low: str | None, high: str | None
):
    given, claims = make_settings(**settings), make_claims(GatedBucket())
    for image, renamed in (
        (make_image(), {}),
        (make_image(SMALL), {FORWARDS: REPLIES}),
        (make_image(source=OTHER), {FORWARDS: REPLIES}),
    ):
        assert choose_lanes(given, claims, image) == ((IMAGES,) if renamed else (captured,))
        for level, lane in (("low", low), ("high", high)):
            expected = () if lane is None else (renamed.get(lane, lane),)
            if "function" in settings:
                assert choose_lanes(given, claims, image, REPLIES_OF[level]) == expected
                chosen = choose_lanes(given, claims, image, REPLIES_OF[level], is_chosen=True)
                assert chosen == (REPLIES,), "a dataset needs the bytes"


@pytest.mark.parametrize(
    ("settings", "uploaded", "lane"), [(EDGE, FORWARDS, REPLIES), ({}, FORWARDS, REPLIES), ({}, UPLOADS, IMAGES)]
)
def test_an_uploaded_image_is_replaced_by_its_reference_on_the_lane_to_the_receiver(
    tmp_path: Path, settings: dict[str, str], uploaded: str, lane: str
):
    """What it was put there for decides where it goes, not the settings of today."""
    bucket = GatedBucket()
    with delivering(tmp_path, make_claims(bucket, prefix="images"), **settings) as spool:
        spool.put(make_image(), lanes=(uploaded,))
        wait_until(lambda: spool.depth(lane))
        (entry,) = spool.peek(lane)
        assert spool.depth() == 1
    digest = hashlib.sha256(LARGE).hexdigest()
    key = f"images/test/cam/1-{digest[:16]}.jpg"
    assert bucket.data == {key: LARGE}
    assert (entry.event.id, entry.event.data, entry.event.datacontenttype) == ("1", b"", "image/jpeg")
    assert entry.event.extensions == {
        "partitionkey": "cam",
        "dataref": f"https://store.example/photos/{key}",
        "datadigest": f"sha256:{digest}",
    }


@pytest.mark.parametrize("error", [UnreachableError("no connection"), ForbiddenError("the key is refused")])
def test_while_a_bucket_can_not_be_used_its_images_wait_with_their_bytes(tmp_path: Path, error: EavesError):
    bucket = GatedBucket()
    bucket.error = error
    with delivering(tmp_path, make_claims(bucket)) as spool:
        for number in range(3):
            spool.put(make_image(identity=str(number)), lanes=(UPLOADS,))
        wait_until(lambda: len(bucket.puts) > 1)
        assert spool.counts() == {UPLOADS: (3, 0)}
        assert spool.size_bytes() > 3 * len(LARGE)  # the room is taken until the upload has succeeded
        bucket.error = None
        wait_until(lambda: spool.counts() == {IMAGES: (3, 0)}, 20)
        assert spool.size_bytes() < 3 * 700


def test_no_put_waits_for_an_upload(tmp_path: Path):
    bucket = GatedBucket()
    bucket.gate.clear()
    with delivering(tmp_path, make_claims(bucket)) as spool:
        spool.put(make_image(identity="first"), lanes=(UPLOADS,))
        wait_until(lambda: bucket.puts)
        for number in range(20):
            spool.put(make_image(identity=str(number)), lanes=(UPLOADS,))
        assert (len(bucket.puts), spool.depth(UPLOADS)) == (1, 21)  # and the end of the agent doesn't wait either


def test_an_agent_that_is_killed_after_an_upload_repeats_it_and_leaves_no_other_object(tmp_path: Path):
    bucket = GatedBucket()
    claims = make_claims(bucket)
    with Spool(tmp_path / "agent.db") as spool:
        spool.put(make_image(), lanes=(UPLOADS,))
        UploadSender(claims, is_at_site=False).send(UPLOADS, spool.peek(UPLOADS))  # killed before its commit
    with delivering(tmp_path, claims) as spool:
        wait_until(lambda: spool.counts() == {IMAGES: (1, 0)})
        assert spool.peek(IMAGES)[0].event.extensions["dataref"].endswith(next(iter(bucket.objects)))
    assert (len(bucket.puts), len(bucket.objects)) == (2, 1)


@pytest.mark.parametrize("is_dead", [False, True])
def test_without_its_bucket_an_image_that_waits_or_is_queued_again_goes_on_with_its_bytes(
    tmp_path: Path, is_dead: bool
):
    with Spool(tmp_path / "agent.db") as spool:
        spool.put(make_image(), lanes=(UPLOADS,))
        if is_dead:
            spool.dead_letter(spool.peek(UPLOADS)[0], "answered 403", 403)
    with delivering(tmp_path, {}) as spool:  # the settings have changed
        redrive(spool, Selection())
        wait_until(lambda: spool.counts() == {IMAGES: (1, 0)})
        assert spool.peek(IMAGES)[0].event.data == LARGE


def test_a_bucket_that_is_down_makes_no_dead_letters_while_another_one_works(tmp_path: Path):
    """Only images of the same bucket show that one is refused alone."""
    down, up = GatedBucket(), GatedBucket()
    down.error = UnreachableError("no connection")
    claims = {
        SOURCE: ClaimBucket(bucket=down, over_bytes=OVER_BYTES),
        OTHER: ClaimBucket(bucket=up, over_bytes=OVER_BYTES),
    }
    backoff = Backoff(retry=None, first_s=0.01, cap_s=0.02)
    with Spool(tmp_path / "agent.db") as spool:
        deliverer = Deliverer(spool, UPLOADS, UploadSender(claims, is_at_site=False), backoff=backoff)
        spool.put(make_image(), lanes=(UPLOADS,))
        deliverer.start()
        for number in range(40):
            tried = len(down.puts)
            spool.put(make_image(identity=str(number), source=OTHER), lanes=(UPLOADS,))
            wait_until(partial(_is_tried, up, number, down, tried))
        assert deliverer.stop(10)
        assert spool.counts()[UPLOADS] == (1, 0)


def _is_tried(up: GatedBucket, stored: int, down: GatedBucket, tried: int) -> bool:
    return len(up.puts) > stored and len(down.puts) > tried

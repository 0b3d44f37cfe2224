"""The s3 source on a real store: an agent's spool, notifications from a queue, and a hundred thousand keys."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eaves.bucket.s3_bucket import S3Bucket
from eaves.plugins.s3 import S3Source, S3SourceSettings
from eaves.sources.agent.context import AgentContext
from eaves.sources.settings import IMAGES
from eaves.spool import Spool, SpoolLimits
from tests.sources.store import KEYS, Store, open_store, write_keys
from tests.waiting import wait_until

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with open_store() as opened:
        yield opened


@pytest.fixture
def bucket(store: Store, request: pytest.FixtureRequest) -> str:
    """Name of an empty bucket."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    store.s3.create_bucket(Bucket=name)
    return name


class Agent:
    """A source with a real spool.

    Attributes:
        captured: Subjects of the events in the spool's lane, in order, as they are put.
        context: Interface of the source to it.
        source: The source.
    """

    def __init__(self, folder: Path, settings: S3SourceSettings, remembered: int, page_keys: int) -> None:
        self.spool = Spool(folder / "agent.db", limits=SpoolLimits(max_bytes=1 << 30, seen_max_entries=remembered))
        self.captured: list[str] = []
        self.context = AgentContext(
            "shop",
            site="test",
            index=self.spool,
            store=self._store,
            max_bytes=20_000_000,
            spool_max_bytes=1 << 30,
            credentials=write_keys(folder / "keys"),
        )
        bucket = S3Bucket(settings.location, credentials=self.context.credentials, page_keys=page_keys)
        self.source = S3Source(settings, self.context, bucket)

    def _store(self, event: Any) -> bool:
        stored = self.spool.put(event, lanes=(IMAGES,), once=True)
        if stored:
            self.captured.append(str(event.subject))
        return stored


@contextmanager
def running(
    folder: Path, store: Store, bucket: str, *, remembered: int = 10_000, page_keys: int = 1_000, **values: Any
) -> Iterator[Agent]:
    """Run a source on the bucket, by the real clock."""
    settings = S3SourceSettings(bucket=f"s3://{bucket}/", endpoint=store.url, **{"every_s": DAY_S, **values})
    agent = Agent(folder, settings, remembered, page_keys)
    thread = threading.Thread(target=agent.source.run)
    thread.start()
    try:
        yield agent
    finally:
        began = time.monotonic()
        agent.context.stop()
        thread.join(20)
        agent.spool.close()
        assert not thread.is_alive()
        assert time.monotonic() - began < 5


def test_images_are_captured_once_across_restarts(store: Store, bucket: str, tmp_path: Path):
    store.put(bucket, "gate/ü 1+.jpg", "gate/a//b.jpg", "notes.txt")
    with running(tmp_path, store, bucket) as agent:
        wait_until(lambda: len(agent.captured) == 2)
        assert agent.captured == ["gate/a//b.jpg", "gate/ü 1+.jpg"]
    store.put(bucket, "gate/2.jpg")
    with running(tmp_path, store, bucket) as agent:
        wait_until(lambda: agent.captured == ["gate/2.jpg"])
    assert store.count(f"GET /{bucket}/gate") == 3


@pytest.mark.long("a hundred thousand objects")
@pytest.mark.slow
def test_a_hundred_thousand_unchanged_keys_are_listed_by_a_hundred_requests(store: Store, bucket: str, tmp_path: Path):
    store.fill(bucket, 100_000)
    with running(tmp_path, store, bucket, remembered=300_000, every_s=1) as agent:
        wait_until(lambda: store.count(f"GET /{bucket}?list-type") == 100, 280)
        wait_until(lambda: len(agent.captured) == 100_000, 280)
        store.put(bucket, "gate/2026/999999.jpg", "a/earlier.jpg")
        wait_until(lambda: len(agent.captured) == 100_002, 280)
        assert sorted(agent.captured[100_000:]) == ["a/earlier.jpg", "gate/2026/999999.jpg"]


def test_the_secret_key_is_not_in_the_log(store: Store, bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with running(tmp_path, store, f"{bucket}-missing") as agent:
        wait_until(lambda: agent.context.counters.reason.endswith(" does not exist"))
    assert KEYS["aws_secret_access_key"] not in caplog.text
    assert KEYS["aws_secret_access_key"] not in repr(agent.source.__dict__)

"""An s3 source that runs in a thread of the test, by a clock that the test turns, on a bucket in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eaves.plugins.s3 import S3Source, S3SourceSettings
from eaves.sources.options import FrameOptions
from tests.fakes.bucket import DictBucket
from tests.fakes.clock import ManualClock
from tests.fakes.sources.sent_index import DictIndex
from tests.sources.turned_source import TurnedSource


class RunningBucket(TurnedSource):
    """The source, and its bucket."""

    def __init__(
        self,
        stored: DictBucket,
        clock: ManualClock,
        index: DictIndex | None = None,
        *,
        options: FrameOptions | None = None,
        max_bytes: int = 20_000_000,
        **values: Any,
    ) -> None:
        super().__init__(clock, index, options=options, max_bytes=max_bytes)
        self.bucket = stored
        self.s3_source = S3Source(S3SourceSettings(**{"bucket": "s3://photos/", **values}), self.context, stored)


@contextmanager
def running(
    stored: DictBucket, clock: ManualClock, index: DictIndex | None = None, **values: Any
) -> Iterator[RunningBucket]:
    """Run a source on a bucket; `values` are settings of the bucket, `max_bytes`, and `options`."""
    made = RunningBucket(stored, clock, index, **values)
    with made.run(made.s3_source):
        yield made

"""Divides the computation of features among several pods; each computes its share into a shared storage.

In an Indexed Job (`JOB_COMPLETION_INDEX` of `JOB_COMPLETIONS`) the image's digest decides which pod computes it. Index
0 waits for the other pods' features and trains; the other pods end when their share is computed. They exchange nothing
else, and each can be killed and started again, because cached features are not computed twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eaves.errors import StorageError
from trainer.features.feature_cache import Array, FeatureCache, Read, map_array
from trainer.prefetch import InputWait
from trainer.progress import TrainingProgress
from trainer.storage import FileStore

POLL_S = 1.0
PATIENCE_S = 3600.0
"""Seconds without a new image after which index 0 gives up; pods that can't be scheduled for an hour need a person."""


class ShardDoneError(Exception):
    """Raised to end a pod that only computes features, when its share is computed; another pod trains the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The share of the images whose features one of several training pods computes.

    Attributes:
        index: Index of the pod from 0; pod 0 trains.
        count: Number of pods.
    """

    index: int
    count: int

    def owns(self, digest: str) -> bool:
        """Return whether this pod computes the features of the image with this sha256 (hex)."""
        return int(digest[:8], 16) % self.count == self.index


class ShardedCache(FeatureCache):
    """A feature cache that several pods fill.

    Args:
        store: Storage that holds the cache's files and that all pods can read and write.
        key: Result of `cache_key`.
        share: Share of this pod.
        patience_s: Seconds that index 0 waits without a new image.
    """

    def __init__(self, store: FileStore, key: str, share: Shard, *, patience_s: float = PATIENCE_S) -> None:
        super().__init__(store, key)
        self._share, self._patience_s = share, patience_s

    def compute(
        self,
        model: Any,
        read: Read,
        digests: Sequence[str],
        out: Array,
        *,
        batch_size: int,
        progress: TrainingProgress,
        title: str,
        wait: InputWait | None = None,
    ) -> int:
        """Compute this pod's share with the model; on index 0, then fill `out` with the features of all pods.

        On other pods `out` stays unchanged.

        Raises:
            StorageError: The other pods delivered no new image for `patience_s`.
        """
        own = [row for row, digest in enumerate(digests) if self._share.owns(digest)]
        with map_array((max(len(own), 1), *out.shape[1:]), out.dtype.str) as values:
            computed = super().compute(
                model,
                lambda rows: read([own[row] for row in rows]),
                [digests[row] for row in own],
                values[: len(own)],
                batch_size=batch_size,
                progress=progress,
                title=title,
                wait=wait,
            )
        if self._share.index == 0:
            self._wait(digests, out, progress, title)
        return computed

    def _wait(self, digests: Sequence[str], out: Array, progress: TrainingProgress, title: str) -> None:
        waiting, seen, heard = set(range(len(digests))), set[str](), time.monotonic()
        with progress.phase(f"{title}, all pods", len(waiting)) as step:
            while True:
                came = waiting - set(self.load(digests, out, seen=seen))
                waiting -= came
                step(len(came))
                if not waiting:
                    return
                heard = time.monotonic() if came else heard
                if time.monotonic() - heard > self._patience_s:
                    message = (
                        f"{len(waiting)} of {len(digests)} images have no features, and no pod has delivered any "
                        f"for {self._patience_s:g} s"
                    )
                    raise StorageError(message, hint="look at the logs of the Job's other pods")
                time.sleep(POLL_S)

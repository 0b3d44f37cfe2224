"""Many pods, one backbone pass: each computes the features of its share of the images into the store they all see.

Under an Indexed Job (`JOB_COMPLETION_INDEX` of `JOB_COMPLETIONS`) the image's digest decides whose it is. Index 0 waits
for what the others compute and trains; the others are done when their share is. There is no other traffic between them,
and each can be killed and started again: what is cached is not computed twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eaves.errors import StorageError
from trainer.features.feature_cache import Array, FeatureCache, Read, map_array
from trainer.progress import TrainingProgress
from trainer.storage import FileStore

POLL_S = 1.0
PATIENCE_S = 3600.0
"""Without a single new image, after which index 0 gives up: pods that can't be scheduled for an hour want a person."""


class ShardDoneError(Exception):
    """This pod's share of the backbone pass is computed; it has nothing to train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Which of several pods this is.

    Attributes:
        index: From 0; 0 trains.
        count: Of pods.
    """

    index: int
    count: int

    def owns(self, digest: str) -> bool:
        """Whether the image of this sha256 (hex) is this pod's to compute."""
        return int(digest[:8], 16) % self.count == self.index


class ShardedCache(FeatureCache):
    """A feature cache that several pods fill.

    Args:
        store: Where the shards are; all pods see it.
        key: From `cache_key`.
        share: Which pod this is.
        patience_s: How long index 0 waits without anything new.
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
    ) -> int:
        """This pod's share through the model; then, on index 0, fill `out` with everybody's. Else `out` stays as it is.

        Raises:
            StorageError: Nothing came from the other pods for too long.
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
                        f"{len(waiting)} of {len(digests)} images have no features, none new for {self._patience_s:g} s"
                    )
                    raise StorageError(message, hint="look at the Job's other pods")
                time.sleep(POLL_S)

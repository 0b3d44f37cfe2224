"""Sums over images whose features many pods compute, those of an Indexed Job: each sums a part, the first adds them up.

    sums-plan.txt         the run whose sums are used; the first pod writes it when split and network are decided
    sums-part-KEY.npz     the sums over one part; KEY identifies the images and what their features are computed by

The files are with the checkpoints of the unfinished run, and go with them. The digest of an image decides in which part
it is. A pod that is started again, or twice, finds the file of its part or writes the same once more; the other pods
end when they have written theirs, and the first waits for them all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass

from eaves.errors import RunError
from trainer.data.listing import LabelledImage
from trainer.model.feature_sums import FeatureSums, SumsOrigin
from trainer.progress import TrainingProgress
from trainer.storage import FileStore

PLAN = "sums-plan.txt"
POLL_S = 1.0

_log = logging.getLogger(__name__)

SumUp = Callable[[Sequence[LabelledImage]], FeatureSums]
"""Function from images, at least one, to the sums over their features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumParts:
    """The parts of a training's images, as one of the pods sees them.

    Attributes:
        index: Index of this pod; the first, 0, adds up and trains.
        number: Number of pods, and of parts.
        store: Storage of the unfinished run, which all pods share.
        progress: Receives a step for each part that is added.
    """

    index: int
    number: int
    store: FileStore
    progress: TrainingProgress

    def list_parts(
        self, images: Sequence[LabelledImage], origin: SumsOrigin
    ) -> Iterator[tuple[str, list[LabelledImage]]]:
        """Yield name of the file and images of each part; each image is in one of them."""
        parts: list[list[LabelledImage]] = [[] for _ in range(self.number)]
        for image in images:
            parts[int(image.digest, 16) % self.number].append(image)
        for part in parts:
            about = json.dumps([astuple(origin), sorted((image.digest, image.label) for image in part)])
            yield f"sums-part-{hashlib.sha256(about.encode()).hexdigest()[:32]}.npz", part

    def sum_own(self, images: Sequence[LabelledImage], origin: SumsOrigin, sum_up: SumUp) -> None:
        """Store the sums over this pod's part, unless they are there already; a part may have no image."""
        name, part = [*self.list_parts(images, origin)][self.index]
        if part and self._load(name, part, sum_up) is None:
            self.store.write(name, sum_up(part).to_bytes())

    def sum_all(self, images: Sequence[LabelledImage], origin: SumsOrigin, sum_up: SumUp) -> Iterator[FeatureSums]:
        """Store this pod's sums, and yield those over each part when its pod has stored them, always in one order."""
        self.sum_own(images, origin, sum_up)
        parts = [(name, part) for name, part in self.list_parts(images, origin) if part]
        with self.progress.phase("Adding the sums of all pods", len(parts)) as step:
            for name, part in parts:
                while (found := self._load(name, part, sum_up)) is None:
                    time.sleep(POLL_S)
                    step(0)  # the training may be asked to stop
                step()
                yield found

    def _load(self, name: str, part: Sequence[LabelledImage], sum_up: SumUp) -> FeatureSums | None:
        """Load the sums over a part, and compute them again if their file is damaged; None while there is no file."""
        if not self.store.exists(name):
            return None
        try:
            return FeatureSums.from_bytes(self.store.read(name), name)
        except RunError as error:
            _log.warning("the part is summed again: %s", error.message)
            return sum_up(part)

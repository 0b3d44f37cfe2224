"""What every way of training is given, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.pixels import DecodedDataset
from trainer.features.feature_cache import FeatureCache, cache_key
from trainer.features.sharding import Shard, ShardDoneError, ShardedCache
from trainer.pixel_scale.scale_choice import ScaleChoice
from trainer.progress import TrainingProgress
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.training.checkpoint import Checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """A model to train.

    Attributes:
        model: From `build_model`.
        backbone_sha256: Digest of its backbone before training.
        decoded: The images.
        settings: How.
        progress: Told how far it is.
        features: Where features are cached.
        scale: What the model's layer `scaling` does, and why.
        checkpoints: Where to resume from and to save; None: neither.
        share: Which of several pods this is, all of which see `features`; None: the only one.
    """

    model: Any
    backbone_sha256: str
    decoded: DecodedDataset
    settings: TrainSettings
    progress: TrainingProgress
    features: FileStore
    scale: ScaleChoice
    checkpoints: Checkpoints | None = None
    share: Shard | None = None

    @property
    def class_weight(self) -> dict[int, float]:
        """Label to the weight of its images in the loss."""
        return self.decoded.dataset.class_weights()

    def cache(self, layer: str, *, variant: int = 0, dtype: str = "float32", shared: bool = True) -> FeatureCache:
        """The cached outputs of a layer that is not trained.

        Args:
            layer: Its name.
            variant: Of the images.
            dtype: As stored.
            shared: Whether the pods of a Job share out the work, as far as there are several.
        """
        key = cache_key(
            recipe=self.settings.recipe(self.scale.scale).digest(),
            scale=self.scale.scale.name,
            backbone=self.backbone_sha256,
            layer=layer,
            augmentation=self.settings.augmentation.key(variant),
            dtype=dtype,
        )
        if self.share is not None and shared:
            return ShardedCache(self.features, key, self.share)
        return FeatureCache(self.features, key)

    def end_pass(self) -> None:
        """After the pass through what is frozen, before anything is trained.

        Raises:
            ShardDoneError: This pod does no more than its share of the pass.
        """
        if self.share is not None and self.share.index:
            raise ShardDoneError

    def digests(self) -> list[str]:
        """sha256 of each image, row by row."""
        return [example.digest for example in self.decoded.dataset.examples]

    def validate(self) -> npt.NDArray[np.float32]:
        """What the whole model, as it is saved, says of the held-out images' pixels: (images, classes) logits."""
        rows, size, outputs = self.decoded.rows("val"), self.settings.batch_size, []
        with self.progress.phase("Validation", len(rows)) as step:
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                outputs.append(np.asarray(self.model.predict_on_batch(self.decoded.pixels[batch])["logits"]))
                step(len(batch))
        return np.concatenate(outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What training leaves besides the weights.

    Attributes:
        history: Per epoch: loss, accuracy, val_loss, val_accuracy.
        val_logits: (validation images, classes) float32, of the final weights.
    """

    history: list[dict[str, float]]
    val_logits: npt.NDArray[np.float32]

"""Defines the input and the result of a training, which are the same for every training mode."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.pixels import DecodedDataset
from trainer.feature_cache import FeatureCache, cache_key
from trainer.prefetch import prefetch
from trainer.progress import TrainingProgress
from trainer.selection.selection import ModelSelection
from trainer.settings import TrainSettings
from trainer.storage import FileStore
from trainer.training.checkpoint import Checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """A model to train, with its data and settings.

    Attributes:
        model: Result of `build_model`.
        backbone_sha256: Digest of the backbone's weights before training.
        decoded: The decoded images.
        settings: Settings of the training, with what was selected.
        progress: Receives the phases of the training and their steps.
        features: Storage of cached features.
        selection: What was selected for the training, among it the scale of the model's layer `scaling`.
        checkpoints: Checkpoints to resume from and to write; None for none.
    """

    model: Any
    backbone_sha256: str
    decoded: DecodedDataset
    settings: TrainSettings
    progress: TrainingProgress
    features: FileStore
    selection: ModelSelection
    checkpoints: Checkpoints | None = None

    @property
    def class_weight(self) -> dict[int, float]:
        """Index of each class to the weight of its images in the loss."""
        return self.decoded.dataset.class_weights()

    def cache(self) -> FeatureCache:
        """Return the cache of the frozen backbone's features."""
        scale = self.selection.scale
        recipe = self.settings.recipe(scale).digest()
        return FeatureCache(self.features, cache_key(recipe=recipe, scale=scale.name, backbone=self.backbone_sha256))

    def digests(self) -> list[str]:
        """Return the sha256 of each image, in the order of the rows."""
        return [example.digest for example in self.decoded.dataset.examples]

    def validate(self) -> npt.NDArray[np.float32]:
        """Return the logits of the whole model, as it is saved, for the held-out images: (images, classes)."""
        rows, size, outputs = self.decoded.rows("val"), self.settings.batch_size, []
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        with (
            self.progress.phase("Validation", len(rows)) as step,
            closing(prefetch(lambda batch: self.decoded.pixels[batch], batches)) as inputs,
        ):
            for images in inputs:
                outputs.append(np.asarray(self.model.predict_on_batch(images)["logits"]))
                step(len(images))
        return np.concatenate(outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Result of a training besides the weights.

    Attributes:
        history: The loss, accuracy, val_loss and val_accuracy of each epoch; empty for a frozen backbone.
        val_logits: (validation images, classes) float32, logits of the final weights.
        head: How the head was fitted, as text; empty if it was trained with the whole network.
    """

    history: list[dict[str, float]]
    val_logits: npt.NDArray[np.float32]
    head: str = ""

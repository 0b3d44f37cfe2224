"""What can be set about training: the sections `data` and `train` of eaves.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from eaves.config import setting
from eaves.recipe import Recipe
from trainer.registry import ARCHITECTURES, SYMMETRIC, UNIT, Architecture

HEAD_EPOCHS = 100
"""A head on 2,048 stored features of 500 photos: seconds, and the loss has long stopped falling."""
HEAD_LEARNING_RATE = 1e-2
"""On features of unit variance; it comes within 0.5 % of the exact minimum of this convex loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Where the labelled images are."""

    path: Path = setting(
        MISSING,
        "Folder with one subfolder of images per class, or with `train` and `val`, each such a folder (your split).",
    )

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {"path": str(self.path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a model is trained. `auto` and 0 mean: what suits the architecture; a run records what that was."""

    arch: str = setting("inception_v3", "Architecture of the network.", choices=tuple(ARCHITECTURES))
    weights: str = setting(
        "auto",
        "What the backbone starts from: `imagenet` (downloaded by Keras), `none`, or the path of a Keras weights file "
        "without the top; `auto`: imagenet where there is one.",
    )
    mode: str = setting(
        "auto",
        "`frozen` trains only the head, on features computed once: minutes. `full` trains everything and needs "
        "thousands of images. `auto`: frozen when the backbone has weights.",
        choices=("auto", "frozen", "full"),
    )
    epochs: int = setting(
        0, "Passes over the training images; 0: 100 for a frozen backbone's head, else the architecture's.", minimum=0
    )
    batch_size: int = setting(32, "Images per step.", minimum=1, maximum=4096)
    learning_rate: float = setting(
        0.0, "Peak learning rate, falling to 0 along a cosine; 0: the mode's own.", minimum=0, maximum=1
    )
    head_l2: float = setting(
        20.0,
        "L2 penalty on a frozen backbone's head, divided by the number of training images (a prior weighs less the "
        "more is seen); 20 was best in cross-validation on 500 photos of flowers, 10 to 50 nearly as good.",
        minimum=0,
    )
    val_fraction: float = setting(
        0.2,
        "Share of the images held out, chosen by a hash of their bytes: an image never changes sides while data grows.",
        minimum=0.01,
        maximum=0.9,
    )
    seed: int = setting(0, "Of the split, the initial weights and the order of images.", minimum=0, maximum=2**31 - 1)
    image_size: int = setting(
        0, "Side of the network's input, pixels; 0: the architecture's own.", minimum=0, maximum=2048
    )
    resize: str = setting(
        "stretch",
        "How an image becomes square: `stretch` keeps all of it, `crop` its middle, `pad` all of it and its "
        "proportions. In cross-validation on flowers 0.695, 0.679 and 0.688.",
        choices=("stretch", "crop", "pad"),
    )
    scale: str = setting(
        "auto",
        "What the backbone's weights expect pixels to be: `unit` 0..1, `symmetric` -1..1 (as Keras's own weights do). "
        "`auto`: symmetric for imagenet, unit for an Inception V3 file.",
        choices=("auto", "unit", "symmetric"),
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Rules across fields: (setting, what is wrong)."""
        arch = self.architecture
        if not arch.pretrained and self.weights not in ("auto", "none"):
            yield "weights", f"{arch.name} has no weights to start from (got {self.weights!r}, must be auto or none)"
        if not arch.pretrained and self.mode == "frozen":
            yield "mode", f"{arch.name} is always trained in full (got 'frozen')"
        if self.image_size and self.image_size < arch.min_size:
            yield "image_size", f"must be >= {arch.min_size} for {arch.name} (got {self.image_size})"

    @property
    def architecture(self) -> Architecture:
        """The architecture's line of the registry."""
        return ARCHITECTURES[self.arch]

    @property
    def weights_kind(self) -> Literal["imagenet", "none", "file"]:
        """Where the backbone's first weights come from, `auto` resolved."""
        if self.weights == "auto":
            return "imagenet" if self.architecture.pretrained else "none"
        return cast(Literal["imagenet", "none"], self.weights) if self.weights in ("imagenet", "none") else "file"

    @property
    def frozen(self) -> bool:
        """Whether only the head is trained, `auto` resolved."""
        return self.mode == "frozen" or (self.mode == "auto" and self.weights_kind != "none")

    def recipe(self) -> Recipe:
        """How images become the model's input. Scaling is in the graph, so the tensor stays uint8."""
        arch = self.architecture
        auto = arch.file_scale if self.weights_kind == "file" else arch.keras_scale
        multiply, add = {"auto": auto, "unit": UNIT, "symmetric": SYMMETRIC}[self.scale]
        size = self.image_size or arch.size
        resize = cast(Literal["stretch", "crop", "pad"], self.resize)
        return Recipe(height=size, width=size, resize=resize, dtype="uint8", multiply=multiply, add=add)

    def schedule(self) -> tuple[int, float]:
        """(epochs, peak learning rate), zeros resolved."""
        arch = self.architecture
        epochs, rate = (HEAD_EPOCHS, HEAD_LEARNING_RATE) if self.frozen else (arch.epochs, arch.learning_rate)
        return self.epochs or epochs, self.learning_rate or rate

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

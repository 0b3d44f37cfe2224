"""Defines the settings of training: the sections `data` and `train` of eaves.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from eaves.artifact.manifest import ANOMALY, CLASSIFY, METHODS
from eaves.config import setting
from eaves.recipe import Recipe
from trainer.data.groups import NEAR_COPIES, parse_group_by
from trainer.data.remote import redact_uri
from trainer.model.architectures import ARCHITECTURES, AUTO, PRETRAINED, SCALES, Architecture, Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Settings that name the labelled images and how they are split."""

    path: str | Path = setting(
        MISSING,
        "Folder with one subfolder of images per class, or with `train` and `val`, each such a folder (your split); a "
        "`labels.csv` in it (file,label) takes precedence over them; or a manifest (.csv) of path,label[,split]; "
        "or an archive (.zip, .tar, .tar.gz). A path or a URI: s3://, gs://, http(s)://, file://.",
    )
    balance: str = setting(
        "auto",
        "`auto`: when the largest class has more than 1.5 times the training images of the smallest, images weigh in "
        "the loss so that classes count alike; `none`: every image counts alike.",
        choices=("auto", "none"),
    )
    near_copies: str = setting(
        "similar",
        "Which images are kept on the same side of the split. `similar`: pictures of one class that look alike, such "
        "as a burst or several shots of one part; where all pictures look alike because the camera is fixed, what "
        "differs from their mean picture is compared. `exact`: only re-encoded and scaled copies of one photo. `off`: "
        "none. Files with the same bytes are always used once.",
        choices=NEAR_COPIES,
    )
    group_by: str = setting(
        "",
        "How images that belong together (the same part, day or camera) are found, so that they are kept on the "
        "same side of the split: `folder:1` by the first folder below the class's folder (in a manifest: below "
        "the manifest's folder), `name:(part[0-9]+)_` by the first group of a regular expression on the file's "
        "name, `column:part` by a column of the manifest; empty: images are not grouped. Takes precedence over "
        "near_copies.",
    )
    unpacked_gb: float = setting(
        50.0,
        "Maximum size of an unpacked archive, GB; protects the disk from an archive that is made to fill it.",
        minimum=0,
    )
    allowed_prefixes: tuple[str, ...] = setting(
        (),
        "URI prefixes that an event (`--event`) may name data under: `s3://photos/site-a` allows all URIs below "
        "it; empty: every event is refused.",
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield faults of the values that are not found by checking their types: (setting, what is wrong)."""
        try:
            parse_group_by(self.group_by)
        except ValueError as error:
            yield "group_by", f"{error} (got {self.group_by!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data for JSON, without a URL's password or signature."""
        return asdict(self) | {"path": redact_uri(str(self.path)), "allowed_prefixes": list(self.allowed_prefixes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Settings of a training. `auto` and 0 mean the value that suits the architecture; a run records that value."""

    task: str = setting(
        CLASSIFY,
        "What the model tells of an image. `classify`: its class. `anomaly`: whether it is unusual, learnt from good "
        "photos alone; images of other classes, if there are any, only judge the model.",
        choices=(CLASSIFY, ANOMALY),
    )
    good: str = setting("good", "Name of the class of good photos, for the task anomaly.")
    false_alarms: float = setting(
        0.05,
        "Largest share of good images that may raise an alarm, for the task anomaly. It is promised with 95 % "
        "confidence where enough groups of good images are held out: 59 for 0.05, 149 for 0.02, 299 for 0.01.",
        minimum=0.0001,
        maximum=0.5,
    )
    method: str = setting(
        "auto",
        "How images are compared with good ones, for the task anomaly. `gaussian`: at each position, for parts in a "
        "fixed pose; `diagonal`: the same without correlations, in a tenth of the bytes; `patches`: with good features "
        "of any position. `auto`: gaussian, or patches if these find clearly more drawn defects.",
        choices=("auto", *METHODS),
    )
    arch: str = setting(
        PRETRAINED,
        "Architecture of the network; `auto` compares those whose pretrained weights are on this machine, on the "
        "training images, and logs the result.",
        choices=(*ARCHITECTURES, AUTO),
    )
    weights: str = setting(
        "auto",
        "Initial weights of the backbone: `imagenet` (for efficientnet_lite0 installed with Eaves, for others "
        "downloaded by Keras), `none` (random), or the path or URI of a Keras weights file without the top; `auto`: "
        "imagenet if the architecture has such weights.",
    )
    mode: str = setting(
        "auto",
        "Which layers are trained. `frozen`: only the head, on features that are computed once; takes minutes. "
        "`sums`: as frozen, with a head that is solved from sums over the features, which the run keeps, so that the "
        "next run on the same data computes only its new images. `full`: all layers; needs thousands of images. "
        "`auto`: frozen if the backbone has pretrained weights, else full.",
        choices=("auto", "frozen", "sums", "full"),
    )
    augment: bool = setting(
        True,
        "Whether `full` trains on each image and, in alternate epochs, on a new variant of it, which is mirrored, "
        "cropped and lit differently.",
    )
    mirror: bool = setting(
        True,
        "Whether half of the variants of `augment` are mirrored, left to right. Set to false if a mirrored image "
        "belongs to another class or to none, such as writing, or left and right parts.",
    )
    cache: str = setting(
        "",
        "Folder or URI where computed features are kept for the next training; empty: `.cache/features` beside "
        "the run. It may be removed at any time.",
    )
    epochs: int = setting(
        0,
        "Number of epochs, which are passes over the training images; 0: the architecture's default. The head of a "
        "frozen backbone is solved and needs none.",
        minimum=0,
    )
    batch_size: int = setting(32, "Number of images per training step.", minimum=1, maximum=4096)
    learning_rate: float = setting(
        0.0,
        "Peak learning rate, which falls to 0 along a cosine; 0: the architecture's default.",
        minimum=0,
        maximum=1,
    )
    selection_s: float = setting(
        60.0,
        "Seconds after which no further backbone or input size is compared with those before it, which are smaller; "
        "0: the smallest is taken without a comparison.",
        minimum=0,
    )
    val_fraction: float = setting(
        0.2,
        "Share of the images of each class that is held out, at least 2 images, chosen by a hash of their bytes. "
        "A later run on the same images keeps the split of the earlier run (setting `split`), unless this setting, "
        "data.near_copies or data.group_by has changed.",
        minimum=0.01,
        maximum=0.9,
    )
    split: str = setting(
        "kept",
        "`kept`: the split of the newest run beside this one that was trained on the same `data.path`, if there is one "
        "and val_fraction, data.near_copies and data.group_by are as they were, else a new one; new images are added "
        "to it. `new`: a new split.",
        choices=("kept", "new"),
    )
    seed: int = setting(
        0,
        "Seed of a new split, of the initial weights and of the order of images. Another seed keeps the split of an "
        "earlier run, so that trainings with several seeds can be compared.",
        minimum=0,
        maximum=2**31 - 1,
    )
    usable_accuracy: float = setting(
        0.7,
        "Accuracy above which a model is called `usable`: the lower end of its 95 % confidence interval must "
        "exceed it. It does not change the training.",
        minimum=0,
        maximum=1,
    )
    image_size: int = setting(
        0,
        "Side of the network's square input, pixels; 0: the architecture's default, or, for a frozen "
        "efficientnet_lite0, 224, 320 or 448, whichever cross-validation on the training images selects.",
        minimum=0,
        maximum=2048,
    )
    resize: str = setting(
        "stretch",
        "How an image is made square: `stretch` keeps all of it, `crop` keeps its middle, `pad` keeps all of it "
        "and its proportions. Accuracy in cross-validation on photos of flowers: 0.695, 0.679 and 0.688.",
        choices=("stretch", "crop", "pad"),
    )
    scale: str = setting(
        "auto",
        "Range of pixel values that the backbone's weights expect: `unit` 0..1, `symmetric` -1..1, `torch` 0..1 "
        "and then each channel normalised by ImageNet's mean and deviation, `raw` 0..255. `auto`: the range of "
        "the published weights; for a file of weights, cross-validation on training images selects it, but never "
        "for efficientnet_lite0.",
        choices=("auto", *SCALES),
    )

    checkpoint_s: float = setting(
        60.0,
        "Seconds between checkpoints, and so the most work that a killed training loses; writing a checkpoint of "
        "Inception V3 takes one or two seconds.",
        minimum=0,
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield faults between several fields: (setting, what is wrong)."""
        arch = self.architecture
        if self.arch == AUTO and self.weights not in ("auto", "imagenet"):
            yield (
                "weights",
                f"must be auto, as train.arch is auto: name the network of the weights (got {self.weights!r})",
            )
        if self.arch == AUTO and self.mode == "full":
            yield "mode", "must be auto, frozen or sums, as train.arch is auto (got 'full')"
        if not arch.pretrained and self.weights not in ("auto", "none"):
            yield "weights", f"must be auto or none, as {arch.name} has no pretrained weights (got {self.weights!r})"
        if not arch.pretrained and self.mode in ("frozen", "sums"):
            yield "mode", f"must be auto or full, as {arch.name} is always trained in full (got {self.mode!r})"
        if self.task == ANOMALY and (not self.frozen or not arch.pretrained):
            yield "task", f"anomaly needs a network with pretrained weights that stay as they are (got {arch.name})"
        if self.image_size and self.image_size < arch.min_size:
            yield "image_size", f"must be >= {arch.min_size} for {arch.name} (got {self.image_size})"

    @property
    def architecture(self) -> Architecture:
        """Properties of the architecture; while `train.arch` is still `auto`, those of the default."""
        return ARCHITECTURES[PRETRAINED if self.arch == AUTO else self.arch]

    @property
    def weights_kind(self) -> Literal["imagenet", "none", "file"]:
        """Kind of the backbone's initial weights; `auto` is replaced by what it stands for with this architecture."""
        if self.weights == "auto":
            return "imagenet" if self.architecture.pretrained else "none"
        return cast(Literal["imagenet", "none"], self.weights) if self.weights in ("imagenet", "none") else "file"

    @property
    def frozen(self) -> bool:
        """Whether only the head is trained; a `train.mode` of `auto` is replaced by the mode that it stands for."""
        return self.resolved_mode != "full"

    @property
    def resolved_mode(self) -> Literal["frozen", "sums", "full"]:
        """Part of the network that is trained; `auto` means `full` if `weights_kind` is `none`, else `frozen`."""
        if self.task == ANOMALY and self.mode != "full" and self.weights_kind != "none":
            return "sums"
        if self.mode == "auto":
            return "frozen" if self.weights_kind != "none" else "full"
        return cast(Literal["frozen", "sums", "full"], self.mode)

    @property
    def own_scale(self) -> Scale:
        """Pixel scale that `train.scale` names; for `auto` the architecture's own, which a measurement may replace."""
        return self.architecture.scale if self.scale == "auto" else SCALES[self.scale]

    @property
    def side(self) -> int:
        """Side of the network's input, pixels."""
        return self.image_size or self.architecture.size

    @property
    def gmacs(self) -> float:
        """Multiplications and additions of the backbone for one image, billions."""
        return self.architecture.gmacs * (self.side / self.architecture.size) ** 2

    def recipe(self) -> Recipe:
        """Return the recipe that turns images into the model's input.

        Pixels are scaled in the model's graph, so the recipe's tensor stays uint8. The graph normalises by channel; a
        recipe doesn't.
        """
        scale, size, resize = self.own_scale, self.side, cast(Literal["stretch", "crop", "pad"], self.resize)
        return Recipe(height=size, width=size, resize=resize, dtype="uint8", multiply=scale.multiply, add=scale.add)

    def schedule(self) -> tuple[int, float]:
        """Return (epochs, peak learning rate): the settings, or the architecture's defaults; (0, 0) if frozen."""
        if self.frozen:
            return 0, 0.0
        return self.epochs or self.architecture.epochs, self.learning_rate or self.architecture.learning_rate

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainSettings:
    """Settings of the trainings that `eaves up` starts by itself: the section `retrain` of eaves.yaml."""

    labels: int = setting(
        0,
        "Number of photos, labelled since the last training that a page or `eaves up` started, at which `eaves up` "
        "trains a model and asks the gate about it; 0: it counts none.",
        minimum=0,
    )
    on_event: bool = setting(
        False,
        "Whether an event dev.eaves.dataset.updated.v1 that reaches this machine's broker, and names the folder of "
        "data.path as file:///FOLDER, starts such a training, too.",
    )
    deploy: bool = setting(
        False, "Whether a model of such a training that the gate lets pass is deployed as a canary without a click."
    )


def build_config(data: DataSettings, settings: TrainSettings) -> dict[str, dict[str, Any]]:
    """Return the content of a run's config.json: both sections, without a URL's password or signature."""
    return {"data": data.to_dict(), "train": settings.to_dict()}

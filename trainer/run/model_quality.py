"""Rates a model by the 95 % interval of its figure, against guessing and against a stated bound for usable models.

The figure is the accuracy, or the mean recall where classes count alike in training. One sentence says what a model is
worth, with the figures behind it and what would make it better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from eaves.base.statistics import lower_bound, round_outward
from trainer.model.architectures import ARCHITECTURES, PRETRAINED
from trainer.run import MEAN_RECALL

Kind = Literal["unknown", "guessing", "weak", "uncertain", "usable"]
Figures = Mapping[str, Any]
MIN_GROUPS = 10
"""Minimum number of groups of images (an image without a group is one) that a model is rated on. With fewer images, the
interval of the accuracy is wider than 0.5, and Wilson's interval is too narrow: nine right answers out of nine would
count as above 0.7."""
MIN_CLASS_RECALL = 0.5
"""Recall of each class below which a model is not usable, if the images show it with 95 % confidence."""
CLASS_CONFIDENCE = 0.975
"""Confidence of the one-sided bound of a class's recall: the upper end of a two-sided interval of 95 %. The bound is
exact, because a class has few images: no right answer out of two says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRecall:
    """Right answers for one class.

    Attributes:
        name: Name of the class.
        right: Number of its images that the model gets right.
        images: Number of its images.
        effective: Number of independent images that these are worth; less when they are of few groups.
    """

    name: str
    right: int
    images: int
    effective: float

    @property
    def upper_bound(self) -> float:
        """Upper bound of the recall, exact with `CLASS_CONFIDENCE`."""
        scale = self.effective / self.images
        wrong, images = (math.floor(count * scale + 1e-9) for count in (self.images - self.right, self.images))
        return 1 - lower_bound(wrong, images, CLASS_CONFIDENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuality:
    """Rating of a model on images that it was not trained on.

    Every level follows from the interval, never from the accuracy itself, so that few images make no model look good
    or bad. The bound is the larger of `usable_accuracy` and `baseline`.

    Attributes:
        kind: Level of the rating. `usable`: the whole interval is above the bound, and no class is below
            `MIN_CLASS_RECALL`; `uncertain`: the interval is above the baseline and contains the bound; `weak`: the
            interval is above the baseline and below the bound, or a class is below `MIN_CLASS_RECALL`; `guessing`: the
            interval contains the baseline, or is below it, and does not reach the bound; `unknown`: the interval
            contains both, or the images are of one class or of too few groups, so that they show nothing.
        figure: Name of the figure: `accuracy`, the share of the images that the model gets right, or `mean recall`, the
            mean of this share over the classes.
        accuracy: Value of the figure.
        interval_95: 95 % confidence interval of the figure, (lower end, upper end).
        images: Number of images that count in the figure.
        groups: Number of groups of these images.
        lookalikes: Number of further images, which don't count because they look like a training image.
        baseline: Figure of always answering the most frequent class of the images.
        baseline_class: Most frequent class of the images.
        usable_accuracy: Figure, 0 to 1, that the interval's lower end must exceed for `usable`.
        classes: Right answers for each class that has images.
        unmeasured: Classes without any image, of which nothing is known.
        text: The rating as one sentence without a full stop; `trainer.run.model_quality` gives it.
    """

    kind: Kind
    figure: str
    accuracy: float
    interval_95: tuple[float, float]
    images: int
    groups: int
    lookalikes: int
    baseline: float
    baseline_class: str
    usable_accuracy: float
    classes: tuple[ClassRecall, ...] = ()
    unmeasured: tuple[str, ...] = ()
    text: str = ""

    @property
    def bound(self) -> float:
        """Figure above which a model counts as usable."""
        return max(self.usable_accuracy, self.baseline)

    @property
    def worst(self) -> ClassRecall | None:
        """Class with the lowest recall; the one with fewer images among equals."""
        return min(self.classes, key=lambda item: (item.right / item.images, item.images), default=None)

    @property
    def weak_classes(self) -> tuple[ClassRecall, ...]:
        """Classes that the model gets right too rarely: the upper bound of their recall is below `usable_accuracy`."""
        return tuple(item for item in self.classes if item.upper_bound < self.usable_accuracy)

    @property
    def missed_classes(self) -> tuple[ClassRecall, ...]:
        """Weak classes that are shown to be right in less than `MIN_CLASS_RECALL` of their images."""
        return tuple(item for item in self.weak_classes if item.upper_bound < MIN_CLASS_RECALL)

    def to_dict(self) -> dict[str, Any]:
        """Return the rating as plain data for JSON."""
        made = asdict(self) | {"interval_95": list(self.interval_95), "unmeasured": list(self.unmeasured)}
        del made["classes"]
        return made | {"weak_classes": [item.name for item in self.weak_classes]}


def rate_model(measured: Figures, *, usable_accuracy: float) -> ModelQuality:
    """Rate a model by its answers to images that it was not trained on.

    Args:
        measured: Result of `trainer.run.metrics.summarize`: `figure`, whose `classes` count without the images
            that look like a training image, and `per_class`, which names all classes.
        usable_accuracy: Figure, 0 to 1, that the interval's lower end must exceed for the level `usable`.
    """
    per_class: Mapping[str, Figures] = measured["per_class"]
    figure: Figures = measured["figure"]
    seen = {name: figure["classes"][name] for name in per_class if name in figure["classes"]}
    most = max(seen or per_class, key=lambda name: (seen or per_class)[name]["images"], default="")
    (low, high), baseline = figure["interval_95"], figure["baseline"]
    enough = len(seen) > 1 and figure["groups"] >= MIN_GROUPS
    kind = _rate(low, high, baseline, max(baseline, usable_accuracy)) if enough else "unknown"
    quality = ModelQuality(
        kind=kind,
        figure=figure["name"],
        accuracy=figure["value"],
        interval_95=(low, high),
        images=figure["images"],
        groups=figure["groups"],
        lookalikes=figure["lookalikes"],
        baseline=baseline,
        baseline_class=most,
        usable_accuracy=usable_accuracy,
        classes=tuple(one for one in list_recalls(figure) if one.name in per_class),
        unmeasured=tuple(name for name in per_class if name not in seen),
    )
    return replace(quality, kind="weak") if kind == "usable" and quality.missed_classes else quality


def list_recalls(figure: Figures) -> list[ClassRecall]:
    """Return the right answers for each class that counts in a figure of `trainer.run.metrics.summarize`."""
    return [
        ClassRecall(name=name, right=one["right"], images=one["images"], effective=one["effective_images"])
        for name, one in figure["classes"].items()
    ]


def _rate(low: float, high: float, baseline: float, bound: float) -> Kind:
    if low > bound:
        return "usable"
    if low > baseline:
        return "uncertain" if high > bound else "weak"
    return "unknown" if high > bound else "guessing"


MAX_NAMED = 3
"""Maximum number of classes that a sentence names; the pages list all of them."""
FEW_IMAGES = 1000
"""Number of images below which a share is written with two digits; with so few images a third digit means nothing."""
MAX_DIGITS = 6
"""Maximum number of digits of a share where fewer would hide on which side of a bound the interval's end is."""
FEW_GROUPS = 20
"""Number of groups below which the sentence says how much one more group can change the figure."""
MAX_GROUP_SHARE = 0.8
"""Maximum ratio of the number of groups to that of images at which the sentence names the groups."""
MAX_EVEN_RATIO = 1.5
"""Maximum ratio of the most frequent class's share to 1 / number of classes at which the sentence calls the baseline
`guessing`; above it, the sentence says `always answering CLASS`."""


def describe_trained(quality: ModelQuality, *, arch: str, evidence: str = "held-out") -> ModelQuality:
    """Return the rating with the sentence that a training ends with.

    Args:
        quality: Rating of the model on images that it was not trained on.
        arch: Architecture of the model.
        evidence: What these images are: `held-out` or `cross-validated`.
    """
    wanted = _name_wanted(quality)
    if quality.kind == "usable":
        advice = ""
    elif _is_seen(quality):
        advice = "hold out other images, or name those that belong together in data.group_by"
    elif quality.kind == "unknown":
        advice = f"add {wanted}, so that more are held out" if evidence == "held-out" else f"add {wanted}"
    elif not ARCHITECTURES[arch].pretrained:
        advice = f"try --arch {PRETRAINED}, or more {wanted}"
    else:
        advice = f"add more {wanted}, and look at the mistakes in report.html"
    return replace(quality, text=_describe(quality, evidence, advice))


def describe_evaluated(quality: ModelQuality, *, maybe_trained_on: bool = False) -> ModelQuality:
    """Return the rating with the sentence that an evaluation ends with.

    Args:
        quality: Rating of the model on the labelled images that it was evaluated on.
        maybe_trained_on: Whether the model may have been trained on some of the images, which makes it look better.
    """
    wanted = _name_wanted(quality)
    if quality.kind == "usable":
        advice = ""
    elif quality.kind == "unknown":
        advice = "evaluate it on more labelled images"
    else:
        advice = f"train it with more {wanted}, or with a stronger architecture"
    doubt = "this is too favourable if it was trained on some of these images" if maybe_trained_on else ""
    return replace(quality, text=_describe(quality, "labelled", "; ".join(filter(None, (doubt, advice)))))


def _describe(quality: ModelQuality, which: str, advice: str) -> str:
    parts = [f"this model {_describe_level(quality)}"]
    if quality.images:
        parts[0] += f": {_describe_figures(quality, which)}"
    if quality.groups < FEW_GROUPS and len(quality.classes) > 1:
        what, points = "images" if quality.groups == quality.images else "groups", 100 / (quality.groups + 1)
        parts.append(f"{quality.groups} {what} show little: one more can change this by {points:.0f} points")
    if quality.lookalikes:
        every = f"{quality.images + quality.lookalikes:,} {which} images"
        parts.append(f"{quality.lookalikes:,} of {every} look like a training image and don't count")
    if quality.worst and _names_weakest(quality):
        parts.append(f"its weakest class is {_count(quality.worst)}")
    if quality.unmeasured:
        none = f"no {which} image counts" if quality.lookalikes else f"there is no {which} image"
        parts.append(f"nothing is known about {_join(quality.unmeasured)}, of which {none}")
    return "; ".join([*parts, advice] if advice else parts)


def _names_weakest(quality: ModelQuality) -> bool:
    """Return whether the sentence names the weakest class, which the model's accuracy may hide if the class is rare."""
    if quality.kind not in ("usable", "uncertain", "unknown") or len(quality.classes) < 2:
        return False
    return quality.accuracy < 1 and (quality.kind == "usable") != bool(quality.weak_classes)


def _describe_level(quality: ModelQuality) -> str:
    match quality.kind:
        case "usable":
            weak = _join([_count(item) for item in quality.weak_classes])
            return f"is usable, but not for {weak}" if weak else "is usable"
        case "uncertain":
            return "is better than guessing, but not shown to be usable"
        case "weak" if quality.interval_95[0] > quality.bound:  # it would be usable if it didn't miss some classes
            return f"is not usable for {_join([_count(item) for item in quality.missed_classes])}"
        case "weak":
            return "is weak"
        case "guessing":
            shown = quality.interval_95[1] <= quality.baseline
            return "is no better than guessing" if shown else "is not shown to be better than guessing"
        case _:
            return _describe_unknown(quality)


def _is_seen(quality: ModelQuality) -> bool:
    """Return whether the model can't be judged because its images look like training images."""
    return quality.kind == "unknown" and quality.lookalikes > 0 and quality.groups < MIN_GROUPS


def _describe_unknown(quality: ModelQuality) -> str:
    if _is_seen(quality):
        return "can't be judged by images that look like those it was trained on"
    if quality.baseline >= 1:
        return "can't be judged by images of one class"
    if quality.groups < MIN_GROUPS or quality.baseline <= quality.usable_accuracy:
        return "can't be judged by so few images"
    return f"is not shown to be better than always answering {quality.baseline_class}"


def _describe_figures(quality: ModelQuality, which: str) -> str:
    digits = _choose_digits(quality)
    low, high = (f"{end:.{digits}f}" for end in round_outward(quality.interval_95, digits))
    images = count_images(quality.images, quality.groups, which)
    name = f"{MEAN_RECALL} " if quality.figure == MEAN_RECALL else ""
    figures = f"{name}{format_share(quality.accuracy, digits)} on {images} (95 % interval {low}-{high})"
    if quality.baseline >= 1:
        return figures
    is_even = quality.baseline * len(quality.classes) <= MAX_EVEN_RATIO
    guessing = "guessing" if is_even else f"always answering {quality.baseline_class}"
    baseline, bound = (format_share(share, digits) for share in (quality.baseline, quality.bound))
    return f"{figures}, {guessing} gives {baseline}, a usable model is above {bound}"


def _choose_digits(quality: ModelQuality) -> int:
    """Return the fewest digits with which no end of the interval seems to be on the other side of a bound."""
    fewest = 2 if quality.images < FEW_IMAGES else 3
    for digits in range(fewest, MAX_DIGITS):
        ends = tuple(zip(quality.interval_95, round_outward(quality.interval_95, digits), strict=True))
        bounds = [(share, float(format_share(share, digits))) for share in (quality.baseline, quality.bound)]
        if all((end > share) == (shown > bound) for end, shown in ends for share, bound in bounds):
            return digits
    return MAX_DIGITS


def count_images(images: int, groups: int, which: str = "") -> str:
    """Return a number of images as text, with the number of their groups where most are not groups of their own.

    Args:
        images: Number of images.
        groups: Number of groups; an image without a group is one.
        which: What the images are, such as `held-out`.
    """
    text = " ".join(filter(None, (f"{images:,}", which, "image" if images == 1 else "images")))
    return f"{text} of {groups:,} group{'' if groups == 1 else 's'}" if groups <= MAX_GROUP_SHARE * images else text


def format_share(share: float, digits: int = 2) -> str:
    """Return a share as text; a share between 0 and 1 is never rounded to 0 or 1.

    Args:
        share: A fraction of 1.
        digits: Digits after the point.
    """
    step = 10.0**-digits
    if 0 < share < 1:
        share = min(max(share, step), 1 - step)
    return f"{share:.{digits}f}"


def _name_wanted(quality: ModelQuality) -> str:
    """Return which photos people should add: of classes without an image, else of the class with the lowest recall."""
    names, worst = quality.unmeasured, quality.worst
    is_named = quality.kind != "unknown" or _names_weakest(quality)
    if not names and worst and is_named and worst.right < worst.images:
        names = (worst.name,)
    return f"photos of {_join(names)}" if names else "photos"


def _count(item: ClassRecall) -> str:
    return f"{item.name} ({item.right:,} of {item.images:,} right)"


def _join(names: Sequence[str]) -> str:
    shown = list(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        return f"{', '.join(shown)} and {len(names) - MAX_NAMED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)

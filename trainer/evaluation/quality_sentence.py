"""Says in one sentence what a model is worth, with the figures behind it and what would make it better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eaves.base.statistics import round_outward
from trainer.evaluation import MEAN_RECALL
from trainer.evaluation.model_quality import MIN_GROUPS, ClassRecall, ModelQuality
from trainer.model.architectures import ARCHITECTURES, PRETRAINED

NAMED = 3
"""Maximum number of classes that a sentence names; the pages list all of them."""
NAME_LENGTH = 40
"""Maximum number of characters of a class name in a sentence."""
FEW = 1000
"""Number of images below which a share is written with two digits; with so few images a third digit means nothing."""
MAX_DIGITS = 6
"""Maximum number of digits of a share where fewer would hide on which side of a bound the interval's end is."""
FEW_GROUPS = 20
"""Number of groups below which the sentence says how much one more group can change the figure."""
GROUPED = 0.8
"""Maximum ratio of the number of groups to that of images at which the sentence names the groups."""
EVEN = 1.5
"""Maximum ratio of the most frequent class's share to 1 / number of classes at which the sentence calls the baseline
`guessing`; above it, the sentence says `always answering CLASS`."""


def describe_trained(
    quality: ModelQuality, *, arch: str, evidence: str = "held-out", photos: Mapping[str, int] | None = None
) -> ModelQuality:
    """Return the rating with the sentence that a training ends with.

    Args:
        quality: Rating of the model on images that it was not trained on.
        arch: Architecture of the model.
        evidence: What these images are: `held-out` or `cross-validated`.
        photos: Number of photos of each class, both trained on and held out; None if it is not known.
    """
    wanted = _name_wanted(quality, photos or {})
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
    wanted = _name_wanted(quality, {})
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
    if quality.groups < FEW_GROUPS and quality.classes > 1 and quality.images:
        what, points = "images" if quality.groups == quality.images else "groups", 100 / (quality.groups + 1)
        parts.append(f"{quality.groups} {what} show little: one more can change this by {points:.0f} points")
    if quality.lookalikes:
        every = f"{quality.images + quality.lookalikes:,} {which} images"
        parts.append(f"{quality.lookalikes:,} of {every} look like a training image and don't count")
    if _names_weakest(quality):
        parts.append(f"its weakest class is {_count(quality.worst)}")
    if quality.unmeasured:
        none = f"no {which} image counts" if quality.lookalikes else f"there is no {which} image"
        parts.append(f"nothing is known about {_join(quality.unmeasured)}, of which {none}")
    return "; ".join([*parts, advice] if advice else parts)


def _names_weakest(quality: ModelQuality) -> bool:
    """Return whether the sentence names the weakest class, which the model's accuracy may hide if the class is rare."""
    if quality.kind == "usable":
        return quality.accuracy < 1 and not quality.weak_classes
    if _misses_classes(quality):
        return False
    return quality.kind in ("unknown", "uncertain") and quality.classes > 1 and bool(quality.weak_classes)


def _describe_level(quality: ModelQuality) -> str:
    match quality.kind:
        case "usable":
            weak = _join([_count(item) for item in quality.weak_classes])
            return f"is usable, but not for {weak}" if weak else "is usable"
        case "uncertain":
            return "is better than guessing, but not shown to be usable"
        case "weak" if _misses_classes(quality):
            return f"is not usable for {_join([_count(item) for item in quality.missed_classes])}"
        case "weak":
            return "is weak"
        case "guessing":
            shown = quality.interval_95[1] <= quality.baseline
            return "is no better than guessing" if shown else "is not shown to be better than guessing"
        case _:
            return _describe_unknown(quality)


def _misses_classes(quality: ModelQuality) -> bool:
    """Return whether the model would be usable if it didn't miss some classes."""
    return quality.kind == "weak" and quality.interval_95[0] > quality.bound


def _is_seen(quality: ModelQuality) -> bool:
    """Return whether the model can't be judged because its images look like training images."""
    return quality.kind == "unknown" and quality.lookalikes > 0 and quality.groups < MIN_GROUPS


def _describe_unknown(quality: ModelQuality) -> str:
    if _is_seen(quality):
        return "can't be judged by images that look like those it was trained on"
    if quality.baseline >= 1:
        return "can't be judged by images of one class"
    if quality.groups < MIN_GROUPS < quality.images:
        return "can't be judged by so few groups of images"
    if quality.groups < MIN_GROUPS or quality.baseline <= quality.usable_accuracy:
        return "can't be judged by so few images"
    return f"is not shown to be better than always answering {_shorten(quality.baseline_class)}"


def _describe_figures(quality: ModelQuality, which: str) -> str:
    digits = _choose_digits(quality)
    low, high = (f"{end:.{digits}f}" for end in round_outward(quality.interval_95, digits))
    images = count_images(quality.images, quality.groups, which)
    name = f"{MEAN_RECALL} " if quality.figure == MEAN_RECALL else ""
    figures = f"{name}{format_share(quality.accuracy, digits)} on {images} (95 % interval {low}-{high})"
    if quality.baseline >= 1:
        return figures
    guessing = "guessing"
    if quality.baseline * quality.classes > EVEN:
        named = quality.kind == "unknown" and quality.baseline > quality.usable_accuracy
        guessing = "that answer" if named else f"always answering {_shorten(quality.baseline_class)}"
    baseline, bound = (format_share(share, digits) for share in (quality.baseline, quality.bound))
    return f"{figures}, {guessing} gives {baseline}, a usable model is above {bound}"


def _choose_digits(quality: ModelQuality) -> int:
    """Return the fewest digits with which no end of the interval seems to be on the other side of a bound."""
    fewest = 2 if quality.images < FEW else 3
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
    return f"{text} of {groups:,} group{'' if groups == 1 else 's'}" if groups <= GROUPED * images else text


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


def _name_wanted(quality: ModelQuality, photos: Mapping[str, int]) -> str:
    """Return which photos people should add: of classes without an image, else of the class with the lowest recall."""
    names = quality.unmeasured
    if (
        not names
        and (quality.kind != "unknown" or _names_weakest(quality))
        and quality.worst.right < quality.worst.images
    ):
        names = (quality.worst_class,)
    counted = [f"{_shorten(name)} ({photos[name]:,} so far)" if name in photos else _shorten(name) for name in names]
    return f"photos of {_join(counted)}" if names else "photos"


def _count(item: ClassRecall) -> str:
    return f"{_shorten(item.name)} ({item.right:,} of {item.images:,} right)"


def _join(names: Sequence[str]) -> str:
    shown = [_shorten(name, 2 * NAME_LENGTH) for name in names[:NAMED]]
    if len(names) > NAMED:
        return f"{', '.join(shown)} and {len(names) - NAMED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _shorten(name: str, length: int = NAME_LENGTH) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"

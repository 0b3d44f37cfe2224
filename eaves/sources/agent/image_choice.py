"""The images that may be chosen for labelling, by the predictions of an agent's function.

`eaves.spool.image_choice` decides about them, in the commit that releases the image. Only an image that the model is
unsure of is decoded, and before that commit, so that no other one waits for the decoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from eaves import media_type
from eaves.errors import EventError, ImageError
from eaves.events import (
    AUDIT,
    CHOSEN,
    CHOSEN_SCORE,
    IMAGE_CLASSIFIED,
    IMAGE_INSPECTED,
    PREDICTION_EXTENSIONS,
    UNSURE,
    Event,
)
from eaves.spool.image_choice import MAX_MARGIN, Candidate, ChoiceLimits


def find_candidate(
    limits: ChoiceLimits, find_lanes: Callable[[Event, Event], tuple[str, ...]], image: Event, reply: Event
) -> Candidate | None:
    """Return an image that may be chosen; None when it is neither of the audit sample nor unsure.

    An image that is decoded by a handler.py only, or whose data are in a bucket, can't be labelled.

    Args:
        limits: Limits of what is chosen.
        find_lanes: Function that returns the lanes in which an image with its prediction is stored.
        image: The image.
        reply: Its prediction.
    """
    if reply.type not in (IMAGE_CLASSIFIED, IMAGE_INSPECTED) or not media_type.is_readable(image.data):
        return None
    margin, why = read_margin(reply), AUDIT
    look: int | None = 0
    if not is_audit(image, limits.audit_percent):
        if not limits.images_per_hour or margin is None or margin >= MAX_MARGIN:
            return None
        why, look = UNSURE, hash_image(image.data)
    if look is None:
        return None
    found = {name: reply.extensions[name] for name in PREDICTION_EXTENSIONS if name in reply.extensions}
    score = {} if margin is None else {CHOSEN_SCORE: f"{margin:.6f}"}
    return Candidate(
        image=image.with_extensions(**{CHOSEN: why}, **score, **found),
        lanes=find_lanes(image, reply),
        why=why,
        label=reply.extensions.get("label", ""),
        margin=margin,
        limits=limits,
        hash=look,
    )


def read_margin(reply: Event) -> float | None:
    """Return the margin of a prediction, 0 to 1; None when it has none, as one that a handler.py has made."""
    try:
        margin = reply.json()["margin"]
        return float(margin) if 0 <= margin <= 1 else None
    except (EventError, LookupError, TypeError):
        return None


def is_audit(image: Event, percent: float) -> bool:
    """Return whether an image is of the audit sample, by a hash that is the same for a repetition."""
    digest = hashlib.sha256(f"audit\0{image.source}\0{image.id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < percent / 100 * 2**64


def hash_image(data: bytes) -> int | None:
    """Return which pixels of an image, scaled to 9x8 grey ones, are darker than the next, as a signed 64-bit number.

    Images that look alike have hashes of few different bits. None: the image can't be decoded.

    Source: Krawetz, "Kind of Like That", 2013 (dHash).
    """
    from eaves.images import decoder  # an agent that chooses nothing needs no Pillow

    try:
        pixels = decoder.load(data, at_least=(8, 9)).convert("L").resize((9, 8)).tobytes()
    except ImageError:
        return None
    places = [9 * row + column for row in range(8) for column in range(8)]
    number = sum((pixels[place] < pixels[place + 1]) << bit for bit, place in enumerate(places))
    return number - (number >> 63 << 64)

"""Whether the function of eaves.yaml would take an image, by its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eaves.cli.display.cell_text import describe_bytes
from eaves.events import DATAREF, IMAGE_CAPTURED
from eaves.media_type import UNKNOWN
from functions.fetch.url_policy import find_url_fault
from functions.settings import ServeSettings

if TYPE_CHECKING:
    from eaves.sources.trial.findings import SourceTrial

WEBP_FACTOR = 3
"""Divisor of the maximum number of pixels for WebP, as in `eaves.images.decoder`."""


def find_refusal(trial: SourceTrial, settings: ServeSettings) -> str:
    """Return why a function would refuse the image of a trial; empty when it would take it.

    Args:
        trial: Trial with an event.
        settings: Settings of the function.
    """
    event = trial.event
    if event is None:
        return ""
    if settings.accept_types and IMAGE_CAPTURED not in settings.accept_types:
        return f"function.accept_types doesn't contain {IMAGE_CAPTURED}"
    reference = event.extensions.get(DATAREF, "")
    if reference and not event.data:
        return find_url_fault(reference, hosts=settings.dataref_hosts, schemes=settings.dataref_schemes)
    if len(event.data) > settings.max_body_bytes:
        return f"it has {len(event.data)} bytes, more than function.max_body_bytes ({settings.max_body_bytes})"
    if (event.datacontenttype or UNKNOWN) == UNKNOWN:
        return "it is not an image in a format that functions read"
    if trial.picture is None:
        return "it can't be decoded"
    pixels = trial.picture.width * trial.picture.height
    most = settings.max_pixels // (WEBP_FACTOR if event.datacontenttype == "image/webp" else 1)
    return f"it has {pixels} pixels, more than function.max_pixels allows ({most})" if pixels > most else ""


def describe_verdict(trial: SourceTrial, settings: ServeSettings, refusal: str, *, by_default: bool) -> str:
    """Return whether the function would take the image, as a sentence.

    Args:
        trial: Trial with an event.
        settings: Settings of the function.
        refusal: What `find_refusal` returned.
        by_default: Whether the settings are the defaults, because there is no eaves.yaml.
    """
    whose = "a function with the default limits" if by_default else "the function"
    if refusal or trial.event is None:
        return f"{whose} refuses it: {refusal}"
    if not trial.event.data:
        return f"{whose} fetches it from its bucket"
    size = describe_bytes(len(trial.event.data))
    return f"{whose} takes it: {size} of at most {describe_bytes(settings.max_body_bytes)}"

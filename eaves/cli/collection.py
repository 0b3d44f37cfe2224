"""Collection of training images from a source, with its progress for a person."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from eaves.base.clock import SYSTEM, Clock
from eaves.cli.output import progress, say
from eaves.errors import CancelledError, DatasetError

if TYPE_CHECKING:
    from eaves.sources.agent.configuration import ConfiguredSource
    from eaves.sources.agent.counters import SourceCounters
    from eaves.sources.collecting import CollectedImages

PAUSE_S = 30
"""Time without a new image after which a person who waits for images reads why, seconds."""


class LongPause:
    """Notices once that the number of images has not grown for `PAUSE_S` seconds."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._images, self._since, self._is_noticed = 0, clock.monotonic(), False

    def begins(self, images: int) -> bool:
        """Return whether the pause has just become a long one."""
        if images != self._images:
            self._images, self._since, self._is_noticed = images, self._clock.monotonic(), False
        is_long = self._clock.monotonic() > self._since + PAUSE_S
        begins, self._is_noticed = is_long and not self._is_noticed, is_long
        return begins


def collect_into(
    images: CollectedImages, configured: ConfiguredSource, site: str, wanted: int, *, ends: bool = False
) -> None:
    """Collect images from a source, and show what happens.

    Args:
        images: The images that were collected before, in the folder that gets the others.
        configured: The source.
        site: Name of the site.
        wanted: Number of images at the end, with those that were collected before.
        ends: Whether a long pause ends the collection; otherwise only a person does.

    Raises:
        CancelledError: When the user stopped the collection before all images were collected.
        DatasetError: When a long pause ended it before any image came.
    """
    from eaves.admin.report import NOT_STARTED
    from eaves.http_client.proxies import parse_proxies
    from eaves.sources.collecting import collect

    before, name = len(images), configured.common.name
    shown = left_out = ""
    pause = LongPause()

    with progress(f"collecting {wanted - before} images", wanted - before) as bar:

        def watch(counters: SourceCounters) -> bool:
            nonlocal shown, left_out
            bar.update(min(len(images), wanted) - before - bar.pos)
            is_over = pause.begins(len(images))
            if is_over:
                say(f"\n{name} has had no new picture for {PAUSE_S} s{left_out}; one that is repeated doesn't count")
            if counters.reason not in {"", shown} and (counters.state, counters.reason) != NOT_STARTED:
                say(f"\n{name} is {counters.state}: {counters.reason}")  # below the bar
            shown = counters.reason
            dropped = ", ".join(f"{cause} {number}" for cause, number in sorted(counters.dropped.items()))
            left_out = f"; images left out: {dropped}" if dropped else ""
            return ends and is_over

        try:
            collect(configured, images, site=site, wanted=wanted, proxies=parse_proxies(os.environ), watch=watch)
        except KeyboardInterrupt:
            message = f"stopped: {len(images)} of {wanted} images are in {images.folder}{left_out}"
            raise CancelledError(message, hint="run the same command again to collect the other images") from None
    if len(images) == before < wanted:
        raise DatasetError(f"no image came for {PAUSE_S} s{left_out}" + (f": {shown}" if shown else ""))
    say(f"{len(images) - before} of {wanted - before} images collected{left_out}")

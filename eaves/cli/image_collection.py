"""Collection of images for `eaves init --from-source`: runs a source of eaves.yaml and stores its images."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.base.clock import SYSTEM, Clock
from eaves.cli.app import resolve_sources
from eaves.cli.output import progress, say
from eaves.cli.project import Workspace
from eaves.errors import CancelledError, ConfigError
from eaves.http_client.proxies import parse_proxies

if TYPE_CHECKING:
    from eaves.sources.agent.counters import SourceCounters

UNSORTED = "-unsorted"
"""Ending of the folder of collected images: images for `data` are collected into `data-unsorted` beside it."""
LINE_S = 10.0
"""Interval between two printed lines with the number of images, seconds, where no progress bar is shown."""
STILL_S = 30.0
"""Seconds without a new image after which a message says so. Most snapshot URLs change about every second."""


def is_same_source(workspace: Workspace, values: Mapping[str, Any]) -> bool:
    """Return whether eaves.yaml already has a source with exactly these settings, whose collection is continued."""
    import yaml

    from eaves.config.yaml_text import load_yaml

    written = load_yaml(yaml.safe_dump(dict(values)))  # in eaves.yaml every number is a text
    return written in (workspace.values.get("sources") or [])


class CollectionProgress:
    """Reports the progress of a collection of images.

    Args:
        name: Name of the source.
        wanted: Number of images to collect.
        kind: Kind of the source.
        lines: Whether to report the number of images, because no progress bar shows it.
        clock: Clock that measures the intervals.
        report: Prints one line.
    """

    def __init__(
        self, name: str, wanted: int, *, kind: str, lines: bool, clock: Clock = SYSTEM, report: Callable[[str], None]
    ) -> None:
        self._name, self._wanted, self._kind = name, wanted, kind
        self._lines = lines
        self._clock = clock
        self._report = report
        self._reported_at = self._changed_at = clock.monotonic()
        self._count = self._reported_count = 0
        self._dropped: Counter[str] = Counter()

    def update(self, count: int, counters: SourceCounters) -> None:
        """Take the number of collected images and the source's counters, and report what has changed."""
        now = self._clock.monotonic()
        if count != self._count or counters.state != "watching":
            self._count, self._changed_at, self._dropped = count, now, Counter(counters.dropped)
        elif now >= self._changed_at + STILL_S:
            self._changed_at = math.inf  # it is said once
            self._report(f"{self._name}: {self._describe_standstill(Counter(counters.dropped) - self._dropped)}")
        done = count >= self._wanted and count != self._reported_count
        if self._lines and (done or now >= self._reported_at + LINE_S):
            self._reported_at, self._reported_count = now, count
            self._report(f"{count} of {self._wanted} images collected")

    def _describe_standstill(self, dropped: Counter[str]) -> str:
        """Return why no new image has come: the picture doesn't change, or images were left out, with the causes.

        A camera's HTTP server may itself report that its picture is unchanged; no image counts as left out then.
        """
        if dropped.keys() <= {"duplicate", "unchanged"} and (dropped or self._kind == "http"):
            return f"the picture hasn't changed for {STILL_S:.0f} s"
        left_out = ", ".join(f"{cause} {count}" for cause, count in sorted(dropped.items()))
        return f"no new image for {STILL_S:.0f} s{f'; images left out: {left_out}' if left_out else ''}"


def collect_images(workspace: Workspace, name: str, wanted: int) -> Path:
    """Collect images from a source of eaves.yaml into a folder beside the labelled images, which training doesn't read.

    Args:
        workspace: The project.
        name: Name of the source.
        wanted: Number of images that the folder holds at the end.

    Returns:
        Path of the folder with the collected images.

    Raises:
        CancelledError: When the user stopped the collection before all images were collected.
        ConfigError: When the source has faults.
    """
    from eaves.sources.agent.configuration import read_source
    from eaves.sources.collecting import CollectedImages, collect
    from eaves.sources.places import find_guest_settings

    site = workspace.project.site
    spec = next(source for source in resolve_sources(workspace) if source.name == name)
    guest = find_guest_settings(spec.settings, command="init", site=site)
    configured, faults = read_source({**spec.settings, **guest}, workspace.origin, "")
    if configured is None:
        raise ConfigError(faults)
    labelled = workspace.path(Path(workspace.project.data.path)).absolute()
    labelled = Path(os.path.normpath(labelled))  # else `.` has no name and `..` a wrong one
    unsorted = labelled.parent / f"{labelled.name}{UNSORTED}"
    images = CollectedImages(unsorted, labelled)
    shown = "not started"
    on_terminal = sys.stderr.isatty()

    def report(line: str) -> None:
        say(f"\n{line}" if on_terminal else line)  # below the bar

    lines = CollectionProgress(name, wanted, kind=spec.kind, lines=not on_terminal, report=report)
    with progress(f"collecting {wanted} images", wanted) as bar:

        def watch(counters: SourceCounters) -> None:
            nonlocal shown
            bar.update(min(len(images), wanted) - bar.pos)
            lines.update(len(images), counters)
            if counters.reason != shown:
                shown = counters.reason
                if shown:
                    report(f"{name} is {counters.state}: {shown}")

        try:
            collect(configured, images, site=site, wanted=wanted, proxies=parse_proxies(os.environ), watch=watch)
        except KeyboardInterrupt:
            message = f"stopped: {len(images)} of {wanted} images are in {unsorted}"
            raise CancelledError(message, hint="run the same command again to collect the other images") from None
    return unsorted

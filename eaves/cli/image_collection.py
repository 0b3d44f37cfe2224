"""Collection of images for `eaves init --from-source`: runs a source of eaves.yaml and stores its images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.cli.app import configure_guest, resolve_sources
from eaves.cli.output import progress, say
from eaves.cli.project import Workspace
from eaves.errors import CancelledError
from eaves.http_client.proxies import parse_proxies

if TYPE_CHECKING:
    from eaves.sources.agent.counters import SourceCounters

UNSORTED = "-unsorted"
"""Ending of the folder of collected images: images for `data` are collected into `data-unsorted` beside it."""


def is_same_source(workspace: Workspace, values: Mapping[str, Any]) -> bool:
    """Return whether eaves.yaml already has a source with exactly these settings, whose collection is continued."""
    import yaml

    from eaves.config.yaml_text import load_yaml

    written = load_yaml(yaml.safe_dump(dict(values)))  # in eaves.yaml every number is a text
    return written in (workspace.values.get("sources") or [])


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
    from eaves.admin.report import NOT_STARTED
    from eaves.sources.collecting import CollectedImages, collect

    site = workspace.project.site
    spec = next(source for source in resolve_sources(workspace) if source.name == name)
    configured = configure_guest(spec.settings, workspace.origin, command="init", site=site)
    labelled = workspace.path(Path(workspace.project.data.path)).absolute()
    labelled = Path(os.path.normpath(labelled))  # else `.` has no name and `..` a wrong one
    unsorted = labelled.parent / f"{labelled.name}{UNSORTED}"
    images = CollectedImages(unsorted, labelled)
    shown = left_out = ""

    with progress(f"collecting {wanted} images", wanted) as bar:

        def watch(counters: SourceCounters) -> None:
            nonlocal shown, left_out
            bar.update(min(len(images), wanted) - bar.pos)
            if counters.reason not in {"", shown} and (counters.state, counters.reason) != NOT_STARTED:
                say(f"\n{name} is {counters.state}: {counters.reason}")  # below the bar
            shown = counters.reason
            dropped = ", ".join(f"{cause} {number}" for cause, number in sorted(counters.dropped.items()))
            left_out = f"; images left out: {dropped}" if dropped else ""

        try:
            collect(configured, images, site=site, wanted=wanted, proxies=parse_proxies(os.environ), watch=watch)
        except KeyboardInterrupt:
            message = f"stopped: {len(images)} of {wanted} images are in {unsorted}{left_out}"
            raise CancelledError(message, hint="run the same command again to collect the other images") from None
    say(f"{len(images)} of {wanted} images collected{left_out}")
    return unsorted

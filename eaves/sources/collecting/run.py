"""Runs a source until a wanted number of images is collected."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from eaves.errors import ConfigError, Fault
from eaves.events import Event
from eaves.http_client.proxies import Proxies
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.collecting.images import CollectedImages
from eaves.sources.settings import ATTRIBUTES_BYTES

TICK_S = 0.2
"""Interval between two calls of `watch`, seconds."""


def collect(
    configured: ConfiguredSource,
    images: CollectedImages,
    *,
    site: str,
    wanted: int,
    proxies: Proxies,
    watch: Callable[[SourceCounters], None],
) -> None:
    """Collect images exactly as an agent would capture them.

    Args:
        configured: Source to run.
        images: Folder that the images are collected in.
        site: Name of the site, which is part of the images' ids.
        wanted: Total number of images to reach, including those of earlier calls.
        proxies: HTTP proxies of the process.
        watch: Called from time to time with the source's counters.

    Raises:
        ConfigError: When the source's images stay in a bucket.
    """
    if configured.kind.refers(configured.settings):
        fault = Fault(origin="source", path=configured.common.name, message="its images stay in their bucket")
        raise ConfigError([fault], hint="set `sends: bytes` to collect the images themselves")
    enough = threading.Event()

    def store(event: Event) -> bool:
        if len(images) >= wanted:
            return False
        stored = images.store(event)
        if len(images) >= wanted:
            enough.set()
        return stored

    context = AgentContext(
        configured.common.name,
        site=site,
        index=images,
        store=store,
        max_bytes=configured.common.max_bytes,
        spool_max_bytes=configured.common.max_bytes + ATTRIBUTES_BYTES,
        credentials=configured.common.credentials,
        proxies=proxies,
        options=configured.options,
    )
    if len(images) >= wanted:
        return
    source = SupervisedSource(partial(configured.kind.run, configured.settings), context)
    source.start()
    try:
        while not enough.wait(TICK_S):
            watch(source.counters)
    finally:
        stop_sources([source])
        watch(source.counters)

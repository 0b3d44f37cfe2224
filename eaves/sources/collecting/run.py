"""Runs a source until enough images are collected."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from eaves.events import Event
from eaves.http_client.proxies import Proxies
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.context import AgentContext
from eaves.sources.agent.counters import SourceCounters
from eaves.sources.agent.supervision import SupervisedSource, stop_sources
from eaves.sources.collecting.images import CollectedImages
from eaves.sources.settings import ATTRIBUTES_BYTES

TICK_S = 0.2
"""Seconds between two looks at what the source does."""


def collect(
    configured: ConfiguredSource,
    images: CollectedImages,
    *,
    site: str,
    wanted: int,
    proxies: Proxies,
    watch: Callable[[SourceCounters], None],
) -> None:
    """Collect images as an agent would capture them.

    Args:
        configured: The source.
        images: Where they go.
        site: The site's name, which is part of their identity.
        wanted: How many images there are to be in the end, those of earlier calls included.
        proxies: HTTP proxies of the process.
        watch: Called now and then with what the source has done.
    """
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

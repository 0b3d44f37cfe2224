"""The function's settings: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from eaves.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Settings of serving: the section `function` of eaves.yaml.

    Its variables have the same names for the command line and for the function's process, such as EAVES_TOP_K. Earlier
    versions of the command line read EAVES_FUNCTION_TOP_K instead.
    """

    FORMER_SECTION: ClassVar[str] = "function"

    concurrency: int = setting(
        0,
        "Predictions at the same time, each on one thread; 0: one per CPU of the process, by its affinity and its "
        "cgroup's quota, rounded up, and one in a cluster, which has to know the number beforehand.",
        minimum=0,
        maximum=256,
    )
    queue: int = setting(
        16,
        "Requests that may wait for their turn before 429 is answered; each holds its image in memory.",
        minimum=0,
        maximum=1000,
    )
    max_body_bytes: int = setting(
        20_000_000,
        "Largest request body, bytes; 413 above. A 12-megapixel JPEG has 3-8 MB.",
        minimum=1024,
        maximum=2**31,
    )
    max_buffered_bytes: int = setting(
        64_000_000,
        "Memory for all bodies that arrive or wait, bytes, and as much again for all data that is fetched; 429 beyond "
        "it. One of the largest size always fits.",
        minimum=1024,
        maximum=2**36,
    )
    read_timeout_s: float = setting(
        30.0, "Seconds a sender may pause within a request; 408 after them.", minimum=1, maximum=3600
    )
    min_rate_bytes_s: int = setting(
        16_000,
        "Bytes a second that a sender must keep up on average, beyond its first read_timeout_s; 408 when it doesn't.",
        minimum=1,
        maximum=2**30,
    )
    max_pixels: int = setting(
        50_000_000,
        "Most pixels of an image, judged by its header; 413 above. Decoded, each takes 4 bytes, 8 where the image is "
        "turned or transparent; of WebP a third is allowed, at 16 bytes. JPEGs need less. Large images take turns.",
        minimum=1,
        maximum=2**30,
    )
    top_k: int = setting(5, "Labels in a reply, best first.", minimum=1, maximum=1000)
    threshold: float = setting(
        0.0,
        "Score from which a label is in a reply; where none has it, the reply names no label.",
        minimum=0,
        maximum=1,
    )
    high_confidence: float = setting(
        0.7, "Score from which the extension attribute `confidence` is `high`, else `low`.", minimum=0, maximum=1
    )
    accept_types: tuple[str, ...] = setting(
        (), "Event types that are predicted, all others get 415; none named: any, but for our own replies."
    )
    recent_replies: int = setting(
        128,
        "Replies kept in memory for events that come again; 0: none. About 1 KB each.",
        minimum=0,
        maximum=10_000,
    )
    dataref_hosts: tuple[str, ...] = setting(
        (),
        "Hosts whose data is fetched when an event only refers to it (`dataref`): store.example, *.store.example, with "
        "a port where it isn't the scheme's own; none named: no reference is followed.",
    )
    dataref_schemes: tuple[str, ...] = setting(("https",), "Schemes of references: https, http.")
    dataref_networks: tuple[str, ...] = setting(
        (), "Networks a reference may lead to though they aren't public, such as 10.0.0.0/8."
    )
    dataref_timeout_s: float = setting(10.0, "Seconds for all of one fetch.", minimum=0.1, maximum=300)
    self_test: str = setting(
        "first",
        "Golden images replayed before the replica is ready; the first is its warm-up.",
        choices=("first", "all", "none"),
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return faults that concern several fields."""
        if self.accept_types:
            from eaves.events import REPLY_TYPES  # imported only when used: a cold start pays for imports

            for name in sorted(REPLY_TYPES.intersection(self.accept_types)):
                yield "accept_types", f"can't name {name}: a function answers its own types with 202 and nothing"
        if not self.dataref_hosts:
            return
        from functions.fetch.url_policy import (  # imported only when used: a cold start pays for imports
            PORTS,
            is_host,
            is_network,
        )

        rules = (
            ("dataref_hosts", self.dataref_hosts, is_host, "hosts, such as store.example or *.store.example:8443"),
            ("dataref_schemes", self.dataref_schemes, PORTS.__contains__, "https or http"),
            ("dataref_networks", self.dataref_networks, is_network, "networks, such as 10.0.0.0/8"),
        )
        for name, values, is_good, wanted in rules:
            for value in values:
                if not is_good(value):
                    yield name, f"must be {wanted} (got {value[:80]!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings(ServeSettings):
    """Settings that a platform passes to a function's process."""

    artifact: Path = setting(Path("/artifact"), "Directory of the artifact; containers carry it at /artifact.")
    artifact_digest: str = setting("", "The artifact digest that was deployed, sha256 hex; another is refused.")
    name: str = setting("function", "The function's name, last part of its replies' source.", env="EAVES_FUNCTION")
    site: str = setting("local", "The site's name, in its replies' source.")
    host: str = setting("0.0.0.0", "Address to listen on; the local platform says loopback.")  # noqa: S104 - a container
    port: int = setting(8080, "TCP port to listen on; 0 takes a free one.", minimum=0, maximum=65535, env="PORT")
    timing: bool = setting(False, "Log where the start's time went, once the first prediction is answered.")
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

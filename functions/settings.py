"""The function's settings: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eaves.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How a function serves: the section `function` of eaves.yaml."""

    concurrency: int = setting(
        0, "Predictions at the same time, each on one thread; 0: one per CPU of the process.", minimum=0, maximum=256
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
    max_pixels: int = setting(
        50_000_000,
        "Most pixels of an image, judged by its header; 413 above. Decoded, each takes 4 bytes, 8 where the image is "
        "turned or transparent; of WebP a third is allowed, at 16 bytes. JPEGs need less. Large images take turns.",
        minimum=1,
        maximum=2**30,
    )
    read_timeout_s: float = setting(30.0, "Seconds a sender may pause within a request.", minimum=1, maximum=3600)
    top_k: int = setting(5, "Labels in a reply, best first.", minimum=1, maximum=1000)
    high_confidence: float = setting(
        0.7, "Score from which the extension attribute `confidence` is `high`, else `low`.", minimum=0, maximum=1
    )
    self_test: str = setting(
        "first",
        "Golden images replayed before the replica is ready; the first is its warm-up.",
        choices=("first", "all", "none"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings(ServeSettings):
    """What a platform tells a function process."""

    artifact: Path = setting(Path("/artifact"), "Directory of the artifact; containers carry it at /artifact.")
    artifact_digest: str = setting("", "The artifact digest that was deployed, sha256 hex; another is refused.")
    name: str = setting("function", "The function's name, last part of its replies' source.", env="EAVES_FUNCTION")
    site: str = setting("local", "The site's name, in its replies' source.")
    host: str = setting("0.0.0.0", "Address to listen on; the local platform says loopback.")  # noqa: S104 - a container
    port: int = setting(8080, "TCP port to listen on; 0 takes a free one.", minimum=0, maximum=65535, env="PORT")
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

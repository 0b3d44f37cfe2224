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

    Its variables have the same names for the command line and for the function's process, such as EAVES_TOP_K.
    """

    HAS_OWN_VARIABLES: ClassVar[bool] = True

    concurrency: int = setting(
        0,
        "Maximum number of predictions at the same time. 0 means one per CPU of "
        "the process, by its affinity and its cgroup's quota, rounded up; on a cluster it "
        "means one, because the number must be known before the pod starts.",
        minimum=0,
        maximum=256,
    )
    threads: int = setting(
        0,
        "Maximum number of threads of one prediction. 0 means one per CPU of the process. Several "
        "threads work on a prediction while at most half as many predictions as CPUs run, "
        "or one; else each prediction has one thread.",
        minimum=0,
        maximum=256,
    )
    queue: int = setting(
        16,
        "Maximum number of requests that wait; further requests are refused with 429. Each holds its image in memory.",
        minimum=0,
        maximum=1000,
    )
    max_body_bytes: int = setting(
        20_000_000,
        "Maximum size of a request body in bytes; a larger one is refused with 413. A 12-megapixel JPEG has 3-8 MB.",
        minimum=1024,
        maximum=2**31,
    )
    max_pixels: int = setting(
        50_000_000,
        "Maximum number of pixels of an image, according to its header; a larger image is "
        "refused with 413. A decoded pixel takes 4 bytes, or 8 if the image is rotated or "
        "transparent. For WebP a third is allowed, at 16 bytes each; JPEGs need less. Large "
        "images are decoded one at a time.",
        minimum=1,
        maximum=2**30,
    )
    top_k: int = setting(5, "Maximum number of labels in a reply, best first.", minimum=1, maximum=1000)
    threshold: float = setting(
        0.0,
        "Minimum score of a label in a reply; if the image's label does not reach it, the reply names no label.",
        minimum=0,
        maximum=1,
    )
    high_confidence: float = setting(
        0.7, "Score from which the extension attribute `confidence` is `high`; below it, `low`.", minimum=0, maximum=1
    )
    anomaly_threshold: float = setting(
        0.0,
        "Score above which an image is anomalous, for a model with the task anomaly; 0 means the artifact's threshold.",
        minimum=0,
    )
    accept_types: tuple[str, ...] = setting(
        (),
        "Event types that the function accepts; all others are refused with 415. If none "
        "is named, it accepts every type except those of its own replies.",
    )
    dataref_hosts: tuple[str, ...] = setting(
        (),
        "Hosts from which data is fetched if an event only refers to it (`dataref`): "
        "store.example or *.store.example, with a port if it isn't the default of the scheme. "
        "If none is named, no data is fetched.",
    )
    dataref_schemes: tuple[str, ...] = setting(("https",), "Schemes of references that are allowed: https, http.")
    dataref_networks: tuple[str, ...] = setting(
        (), "Networks that a reference may lead to although they aren't public, such as 10.0.0.0/8."
    )
    dataref_timeout_s: float = setting(10.0, "Seconds that one fetch may take in all.", minimum=0.1, maximum=300)
    dataref_max_bytes: int = setting(
        64_000_000,
        "Memory in bytes for all data that is fetched at the same time; when it is reached, requests are refused with "
        "429. The data of one event of the maximum size always fits.",
        minimum=1024,
        maximum=2**36,
    )
    dataref_credentials: Path | None = setting(
        None,
        "Folder with the files `access_key` and `secret_key`, and `session_token` for temporary keys. With them each "
        "request to a host in `dataref_hosts` is signed as Amazon S3 and compatible stores check it, so that "
        "their buckets can be private. `ca.crt` has certificate authorities to trust in addition to the system's. "
        "The files are read at each request.",
    )
    dataref_region: str = setting(
        "",
        "Region that requests are signed for, such as eu-central-1. The default, empty, is the region in the host's "
        "name, or us-east-1.",
    )
    self_test: str = setting(
        "first",
        "Number of golden images that are replayed before the replica becomes ready; the first one is its warm-up.",
        choices=("first", "all", "none"),
    )
    timing: bool = setting(False, "Log the duration of each step of the start, once the first prediction is answered.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules for lists of hosts, schemes, networks and event types, as (field, message)."""
        if self.accept_types:
            from eaves.events import REPLY_TYPES  # imported only when used: a cold start pays for imports

            for name in sorted(REPLY_TYPES.intersection(self.accept_types)):
                yield (
                    "accept_types",
                    (f"must not contain {name}: a function answers events of its own types with 202 and no reply"),
                )
        if not self.dataref_hosts:
            if self.dataref_credentials:
                yield "dataref_credentials", "has no effect without dataref_hosts"
            return
        from functions.url_policy import SCHEMES, is_host, is_network  # only when used: a cold start pays

        rules = (
            ("dataref_hosts", self.dataref_hosts, is_host, "hosts, such as store.example or *.store.example:8443"),
            ("dataref_schemes", self.dataref_schemes, SCHEMES.__contains__, "https or http"),
            ("dataref_networks", self.dataref_networks, is_network, "networks, such as 10.0.0.0/8"),
        )
        for name, values, is_good, wanted in rules:
            for value in values:
                if not is_good(value):
                    yield name, f"must be {wanted} (got {value[:80]!r})"
        region = self.dataref_region
        if region and not (region.isascii() and region.replace("-", "").isalnum()):
            yield "dataref_region", f"must be a region such as eu-central-1 (got {region[:80]!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings(ServeSettings):
    """Settings that a platform passes to a function's process."""

    artifact: Path = setting(Path("/artifact"), "Folder with the artifact; container images have it at /artifact.")
    artifact_digest: str = setting(
        "", "SHA-256 of the artifact that was deployed, in hex; another artifact is refused."
    )
    prepared_graphs: Path | None = setting(
        None,
        "Folder with fp32 graphs that were prepared for this machine's CPU, which open in a fraction of the time "
        "and need less memory. Under the local platform `eaves deploy` prepares them. If no graph in it fits, the "
        "artifact's own graph is used.",
    )
    name: str = setting(
        "function", "Name of the function; it is the last part of the source of its replies.", env="EAVES_FUNCTION"
    )
    site: str = setting("local", "Name of the site, as it appears in the source of replies.")
    host: str = setting("0.0.0.0", "Address to listen on; under the local platform it is loopback.")  # noqa: S104 - a container
    port: int = setting(8080, "TCP port to listen on; 0 chooses a free one.", minimum=0, maximum=65535, env="PORT")
    log_json: bool = setting(True, "Log JSON lines instead of plain text.")

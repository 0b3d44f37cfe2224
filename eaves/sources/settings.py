"""Settings of an agent and of its sources: one table for flags, environment variables, validation and docs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eaves.admin.report import from_json
from eaves.base.names import NAME
from eaves.config import setting
from eaves.http_client.trust import build_tls_context
from eaves.link.client import check_receiver
from eaves.spool.image_choice import ChoiceLimits
from eaves.spool.settings import SpoolSettings

if TYPE_CHECKING:
    from eaves.bucket.location import BucketLocation

DEFAULT_KIND = "folder"
"""Kind of a source whose settings name none."""

IMAGES, REPLIES, UPLOADS, FORWARDS = "sink", "replies", "uploads", "forwards"
"""Lane of captured images, which go to the function or the sink; lane of predictions, and of images that are forwarded
with them, which go to the sink; and lane of large images, which go to their bucket before their events go further."""
LANES = (IMAGES, REPLIES, UPLOADS, FORWARDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Settings that every source has, whatever its kind."""

    name: str = setting(
        "source",
        "Name of the source, unique within its agent; it is the last part of the source of its events.",
        form=NAME,
    )
    kind: str = setting(
        DEFAULT_KIND,
        "Kind of the source: `folder`, `camera`, `mqtt`, `http`, `replay`, `s3`, or a kind that an installed package "
        "adds.",
    )
    credentials: Path | None = setting(
        None,
        "Folder with those of the files `username`, `password`, `tls.crt`, `tls.key` and "
        "`ca.crt` that are needed, and for buckets `access_key`, `secret_key` and `session_token`. The files are read "
        "at each connection.",
    )
    max_bytes: int = setting(
        20_000_000,
        "Maximum size of an image in bytes; larger images are skipped and counted, because functions refuse them.",
        minimum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCheckSettings:
    """Settings that send large images to the cloud through a bucket; docs/sources.md#s3 explains them."""

    claim_check_over_bytes: int = setting(
        0,
        "Size in bytes above which an image that leaves the site is stored in `claim_check_bucket` first; its event "
        "then has the image's URL (`dataref`) and digest instead of its data. The default, 0, stores none.",
        minimum=0,
    )
    claim_check_bucket: str = setting(
        "",
        "Bucket for large images, s3://NAME or s3://NAME/PREFIX. `credentials` holds its `access_key` and "
        "`secret_key`. A function that gets the events fetches the images, so its `dataref_hosts` must allow the host.",
    )
    claim_check_endpoint: str = setting(
        "", "Address of the store that has the bucket, such as https://minio.example:9000; empty: Amazon S3."
    )
    claim_check_region: str = setting("", "Region of the bucket. The default, empty, is us-east-1.")

    def location(self) -> BucketLocation | None:
        """Return the location of the bucket; None when no image is stored in one.

        Raises:
            ValueError: When the address of the bucket is malformed.
        """
        if not self.claim_check_over_bytes:
            return None
        from eaves.bucket.location import parse_location  # an agent without claim checks needs no HTTP client for it

        return parse_location(
            self.claim_check_bucket, endpoint=self.claim_check_endpoint, region=self.claim_check_region
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        if not self.claim_check_over_bytes:
            if self.claim_check_bucket:
                yield "claim_check_bucket", "has no effect without claim_check_over_bytes"
            return
        try:
            self.location()
        except ValueError as error:
            name, _, message = str(error).partition(": ")
            yield f"claim_check_{'bucket' if name == 'address' else name}", message


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings(SpoolSettings):
    """Settings that a platform passes to an agent process."""

    sources: str = setting(
        "",
        "Sources of the agent, as a JSON list of mappings with the settings that every source "
        "has and those of its kind.",
    )
    site: str = setting("local", "Name of the site, as it appears in the source of its events.")
    node: str = setting(
        "",
        "Name of the node that the agent runs on. If it is set, the `partitionkey` of images of no named camera is "
        "SOURCE@NODE, because the same source may run on several nodes.",
    )
    port: int = setting(
        0,
        "TCP port of /metrics and /health. The default, 0, is no port, because on a single machine nothing scrapes it.",
        minimum=0,
        maximum=65_535,
    )
    host: str = setting(
        "127.0.0.1", "Address that the port listens on; 0.0.0.0 in a pod, where the kubelet connects to it."
    )
    parallel: int = setting(2, "Number of deliveries at the same time.", minimum=1, maximum=64)
    sink: str = setting(
        "",
        "Address that events are sent to, http(s). Without it they wait in the spool. "
        "Knative's SinkBinding sets it, and removes it while there is no Broker.",
        env="K_SINK",
    )
    sink_token: Path | None = setting(
        None,
        "File with the bearer token that the sink needs, and the function if it is on the same server, which "
        "`eaves up --host` sets. It is read at each request.",
    )
    function: str = setting(
        "",
        "Address of a function that is called first: its predictions are stored and sent to "
        "the sink, so that no Broker has to store images. If empty, the images themselves are "
        "sent to the sink.",
        env="EAVES_FUNCTION_URL",
    )
    function_credentials: Path | None = setting(
        None,
        "Folder with those of the files `token`, `ca.crt`, `tls.crt` and `tls.key` that the "
        "function needs; for a function in the cloud, these are the files of the link. The "
        "files are read at each request.",
    )
    forward_images: str = setting(
        "none",
        "Images that are sent to the sink along with their predictions, in the transaction "
        "that stores the prediction: `all`, `low` (images whose prediction has low confidence) "
        "or `none`. Unless it is `none`, an image that the function refuses is sent with the event about it. Without a "
        "function, all images are sent.",
        choices=("none", "low", "all"),
    )
    choose: str = setting(
        "",
        "Limits of the images that are chosen for labelling and sent to the sink, as a JSON object with "
        "`audit_percent`, `images_per_hour` and `bytes_per_day`. The default, empty, chooses none.",
    )
    timeout_s: float = setting(
        120.0, "Seconds that one delivery may take, including the cold start of a function.", minimum=1, maximum=600
    )
    overrides: str = setting(
        "",
        'Extension attributes for every event, in the form {"extensions": {...}} in which SinkBinding sets them.',
        env="K_CE_OVERRIDES",
    )
    ca_certs: str = setting(
        "",
        "Certificate authorities to trust in addition to the system's, as PEM text: those of "
        "the sink in a cluster with transport encryption, where SinkBinding sets it.",
        env="K_CA_CERTS",
    )

    def choice_limits(self) -> ChoiceLimits:
        """Return the limits of `choose`.

        Raises:
            ValueError: When `choose` is not a JSON object of the three limits.
        """
        return from_json(ChoiceLimits, json.loads(self.choose))

    def faults(self) -> Iterator[tuple[str, str]]:
        """Return path and message of each violated rule that concerns several settings."""
        if self.choose:
            try:
                self.choice_limits()
            except ValueError as error:
                yield "choose", f"must be a JSON object of limits: {error}"
            if self.forward_images != "none":
                yield "forward_images", "must be none, if `choose` is set"
        if self.sink and not self.sink.startswith(("http://", "https://")):
            yield "sink", f"must be an http:// or https:// address (got {self.sink!r})"
        elif self.sink and self.sink_token and (fault := check_receiver(self.sink, with_path=True)):
            yield "sink", f"{fault}, because its token is sent with each request"
        if self.ca_certs:
            try:
                build_tls_context(self.ca_certs)
            except ValueError as error:
                yield "ca_certs", str(error)
        if self.function and not self.function.startswith(("http://", "https://")):
            yield "function", f"must be an http:// or https:// address (got {self.function!r})"
        elif self.function_credentials and (fault := check_receiver(self.function, with_path=True)):
            yield "function", f"{fault}, because its credentials are sent with each request"
        if self.function_credentials and not self.function:
            yield "function_credentials", "can be set only together with `function`"

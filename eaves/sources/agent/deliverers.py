"""What leaves an agent's spool: images to the function, predictions to the sink, large images through their bucket.

A large image that leaves the site waits in the spool, on a lane of its own, until it is in its bucket (a claim check).
The commit that releases it stores its event, which then refers to it by `dataref`, on the lane to the receiver. So no
capture waits for a bucket, and a function at the site gets the bytes from the spool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from eaves import media_type
from eaves.base.backoff import UNLIMITED
from eaves.credentials import read_authorization
from eaves.delivery import AttemptResult, Deliverer, EventSender, SinkClient, SinkResponse
from eaves.delivery.rejection import build_refusal
from eaves.errors import ConfigError, DeliveryError, EavesError, UnreachableError
from eaves.events import DATADIGEST, DATAREF, IMAGE_REJECTED, Event, source_uri
from eaves.http_client.proxies import Proxies
from eaves.link.client import LINK_PAUSES, CredentialedClient
from eaves.redact import redact
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent_lanes import IMAGES, REPLIES, UPLOADS
from eaves.sources.settings import AgentSettings
from eaves.spool import Entry, Puts, Spool

if TYPE_CHECKING:
    from eaves.bucket.bucket import Bucket

NO_SINK = "the address of the sink is unknown: K_SINK is not set, so the SinkBinding is missing or finds no Broker"
LOW = "low"
"""Value of the extension attribute `confidence` of an uncertain prediction."""
UPLOAD_S = 600.0
"""Time that the upload of one image may take, seconds: 20 MB at 0.3 Mbit/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBucket:
    """Bucket for the images of one source with more than `over_bytes`; `prefix` is the beginning of their keys."""

    bucket: Bucket
    over_bytes: int
    prefix: str = ""


def open_buckets(
    sources: Sequence[ConfiguredSource], settings: AgentSettings, proxies: Proxies
) -> dict[str, ClaimBucket]:
    """Return the bucket of each source that has one, by the `source` of its events. No request is sent yet."""
    found: dict[str, ClaimBucket] = {}
    for one in sources:
        location = one.claims.location()
        if location is not None:
            from eaves.bucket.s3_bucket import S3Bucket  # an agent without a bucket needs no boto3

            bucket = S3Bucket(location, credentials=one.common.credentials, proxies=proxies, timeout_s=UPLOAD_S)
            over_bytes, name = one.claims.claim_check_over_bytes, source_uri(settings.site, one.common.name)
            found[name] = ClaimBucket(bucket=bucket, over_bytes=over_bytes, prefix=location.prefix)
    return found


def choose_lanes(
    settings: AgentSettings, buckets: Mapping[str, ClaimBucket], image: Event, reply: Event | None = None
) -> tuple[str, ...]:
    """Return the lanes of an image: when it is captured, and again when its prediction or refusal is stored.

    This is the one place that decides which images go to the cloud. A function at the site is asked with the bytes in
    the spool. What leaves the site goes through its bucket when it is large: images for a sink or for a function in the
    cloud, and images that `forward_images` sends along with their predictions.
    """
    claim = buckets.get(image.source)
    leaves = UPLOADS if claim is not None and len(image.data) > claim.over_bytes else ""
    if reply is None:
        return (IMAGES if _is_at_site(settings) else leaves or IMAGES,)
    is_hard = reply.type == IMAGE_REJECTED or reply.extensions.get("confidence") == LOW
    wanted = (LOW, "all") if is_hard else ("all",)
    return (leaves or REPLIES,) if settings.forward_images in wanted else ()


def _is_at_site(settings: AgentSettings) -> bool:
    """Return whether the agent asks a function, and the function is on this side of the link."""
    return bool(settings.function) and settings.function_credentials is None


class UploadSender(EventSender):
    """Puts images into the buckets of their sources.

    An image that is uploaded again, because the agent was killed before the commit, has the same key. An image whose
    source has no bucket any more keeps its data.

    Args:
        buckets: Bucket of each source.
        lane: Lane of the events of uploaded images.
    """

    def __init__(self, buckets: Mapping[str, ClaimBucket], lane: str) -> None:
        super().__init__(self._upload, on_reply=lambda _, event: [(event, (lane,))])
        self._buckets = buckets

    def abort(self) -> None:
        """End the upload in progress."""
        for claim in self._buckets.values():
            claim.bucket.abort()

    def _upload(self, event: Event) -> SinkResponse:
        claim = self._buckets.get(event.source)
        if claim is None:
            return SinkResponse(status=200, event=event)
        # With the digest, other bytes of the same id, as after a change of `crop`, replace no object.
        digest = event.extensions[DATADIGEST].removeprefix("sha256:")[:16]
        name = f"{event.source.removeprefix('/eaves/')}/{event.id}-{digest}{media_type.suffix(event.datacontenttype)}"
        key = f"{claim.prefix.removesuffix('/')}/{name}" if claim.prefix else name
        try:
            url = claim.bucket.put(key, event.data, content_type=event.datacontenttype or media_type.UNKNOWN)
        except EavesError as error:
            raise DeliveryError(error.message, hint=error.hint) from error
        return SinkResponse(status=200, event=replace(event, data=b"").with_extensions(**{DATAREF: url}))


def build_deliverers(
    settings: AgentSettings,
    spool: Spool,
    client: SinkClient,
    overrides: Mapping[str, str],
    function_client: CredentialedClient | None = None,
    buckets: Mapping[str, ClaimBucket] | None = None,
) -> list[Deliverer]:
    """Build the deliverers: images go to the function and its predictions to the sink.

    Without a function, images go to the sink. A lane of uploads is only served when there is a bucket, or was one.

    An image is released in the commit that stores its prediction, so neither a link nor a broker that is down loses it.
    The commit that makes a dead letter of an image also queues an event about it for the sink, because the image itself
    stays on this machine.

    Args:
        settings: Settings of the agent.
        spool: Queue of the agent.
        client: Client for the sink, and for a function without credentials.
        overrides: Extension attributes for every event that goes to the sink.
        function_client: Client for a function that requires credentials.
        buckets: Buckets of the sources that have one.
    """
    claims = buckets or {}

    def post(url: str, event: Event, *, prefer_reply: bool) -> SinkResponse:
        try:
            headers = read_authorization(settings.sink_token) if _is_same_server(url, settings.sink) else {}
        except ConfigError as error:  # for example a file that is being replaced
            raise UnreachableError(error.message, hint=error.hint) from error
        return client.post(url, event, prefer_reply=prefer_reply, timeout_s=settings.timeout_s, more_headers=headers)

    def to_sink(event: Event) -> SinkResponse:
        if not settings.sink:
            raise UnreachableError(NO_SINK, hint="check: kubectl get brokers,sinkbindings")
        return post(settings.sink, event, prefer_reply=False)

    def to_function(event: Event) -> SinkResponse:
        if function_client is None:
            return post(settings.function, event, prefer_reply=True)
        try:
            own, headers = function_client.current()
        except ConfigError as error:  # for example a Secret that is being renewed
            raise UnreachableError(error.message, hint=error.hint) from error
        return own.post(settings.function, event, prefer_reply=True, timeout_s=settings.timeout_s, more_headers=headers)

    def keep(entry: Entry, reply: Event) -> Puts:
        lanes = choose_lanes(settings, claims, entry.event, reply)
        forwarded = [(entry.event, lanes)] if lanes else []
        return [(reply.with_extensions(**overrides), (REPLIES,)), *forwarded]

    def report(entry: Entry, judged: AttemptResult) -> Puts:
        by, status, reason = redact(settings.function), judged.status, judged.reason
        refused = build_refusal(entry.event, settings.site, by=by, status=status, reason=reason)
        return keep(entry, refused)

    images = Deliverer(
        spool,
        IMAGES,
        EventSender(
            to_function if settings.function else to_sink,
            parallel=settings.parallel,
            on_reply=keep if settings.function else None,
            reply_required=bool(settings.function),
        ),
        backoff=UNLIMITED if function_client is None else LINK_PAUSES,
        report_dead=report if settings.function else None,
        leases=[spool.lease(IMAGES)],
    )
    replies = Deliverer(spool, REPLIES, EventSender(to_sink), backoff=UNLIMITED, leases=[spool.lease(REPLIES)])
    if not claims and not spool.depth(UPLOADS):
        return [images, replies]
    sender = UploadSender(claims, REPLIES if _is_at_site(settings) else IMAGES)
    return [images, replies, Deliverer(spool, UPLOADS, sender, backoff=UNLIMITED, leases=[spool.lease(UPLOADS)])]


def _is_same_server(url: str, sink: str) -> bool:
    """Return whether an address is on the server of the sink, whose token no other server may get."""
    return urlsplit(url)[:2] == urlsplit(sink)[:2]

"""What leaves an agent's spool: images to the function, predictions to the sink, large images through their bucket.

A large image that leaves the site waits in the spool, on a lane of its own, until it is in its bucket (a claim check).
The commit that releases it stores its event, which then refers to it by `dataref`, on the lane to the receiver. So no
capture waits for a bucket, and a function at the site gets the bytes from the spool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from eaves import media_type
from eaves.base.backoff import UNLIMITED
from eaves.credentials import read_authorization
from eaves.delivery import AttemptResult, Deliverer, EventSender, SinkClient, SinkResponse
from eaves.delivery.rejection import build_refusal
from eaves.errors import ConfigError, DeliveryError, EavesError, EventError, UnreachableError
from eaves.events import DATADIGEST, DATAREF, IMAGE_REJECTED, Event, source_uri
from eaves.http_client.proxies import Proxies
from eaves.link.client import LINK_PAUSES, CredentialedClient
from eaves.problem_document import COUNTED_HEADER
from eaves.redact import redact
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.image_choice import find_candidate
from eaves.sources.settings import FORWARDS, IMAGES, REPLIES, UPLOADS, AgentSettings
from eaves.spool import Entry, Puts, Spool
from eaves.spool.score_shift import read_sample

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
    settings: AgentSettings,
    buckets: Mapping[str, ClaimBucket],
    image: Event,
    reply: Event | None = None,
    *,
    is_chosen: bool = False,
) -> tuple[str, ...]:
    """Return the lanes of an image: when it is captured, and again when its prediction or refusal is stored.

    This is the one place that decides which images go to the cloud. A function at the site is asked with the bytes in
    the spool. What leaves the site goes through its bucket when it is large: images for a sink or for a function in the
    cloud, and images that `forward_images` sends along with their predictions. An image that is chosen for labelling
    keeps its bytes, because a dataset takes no reference.
    """
    claim = buckets.get(image.source)
    is_large = claim is not None and len(image.data) > claim.over_bytes
    if reply is None:
        return (UPLOADS if is_large and not _is_at_site(settings) else IMAGES,)
    is_hard = reply.type == IMAGE_REJECTED or reply.extensions.get("confidence") == LOW
    wanted = (LOW, "all") if is_hard else ("all",)
    if is_chosen:
        return (REPLIES,)
    return (FORWARDS if is_large else REPLIES,) if settings.forward_images in wanted else ()


def _is_at_site(settings: AgentSettings) -> bool:
    """Return whether the agent asks a function, and the function is on this side of the link."""
    return bool(settings.function) and settings.function_credentials is None


class UploadSender(EventSender):
    """Puts images into the buckets of their sources.

    An image that is uploaded again, because the agent was killed before the commit, has the same key. An image keeps
    its data when its source has no bucket any more, and when the function that it goes to is at the site by now.

    Args:
        buckets: Bucket of each source.
        is_at_site: Whether images without a prediction go to a function at the site.
    """

    def __init__(self, buckets: Mapping[str, ClaimBucket], *, is_at_site: bool) -> None:
        super().__init__(self._upload, on_reply=self._pass_on)
        self._buckets, self._is_at_site = buckets, is_at_site

    def send(self, lane: str, entries: Sequence[Entry]) -> Sequence[AttemptResult]:
        """Upload one image. Only other images of its source, and so of its bucket, show whether it is refused alone."""
        event = entries[0].event
        if lane == UPLOADS and self._is_at_site:
            return [AttemptResult(puts=self._pass_on(entries[0], event))]
        (result,) = super().send(lane, entries)
        return [replace(result, store=event.source)]

    def _pass_on(self, entry: Entry, event: Event) -> Puts:
        return [(event, (REPLIES if entry.lane == FORWARDS else IMAGES,))]

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


class _Receivers:
    """The function and the sink of an agent, and what is stored for their answers; see `build_deliverers`."""

    def __init__(
        self,
        settings: AgentSettings,
        client: SinkClient,
        overrides: Mapping[str, str],
        function_client: CredentialedClient | None,
        buckets: Mapping[str, ClaimBucket],
    ) -> None:
        self._settings, self._client, self._overrides = settings, client, overrides
        self._function_client, self._buckets = function_client, buckets

    def send_to_sink(self, event: Event) -> SinkResponse:
        """Send an event to the sink."""
        if not self._settings.sink:
            raise UnreachableError(NO_SINK, hint="check: kubectl get brokers,sinkbindings")
        return self._post(None, self._settings.sink, event, prefer_reply=False)

    def send_to_function(self, event: Event) -> SinkResponse:
        """Send an image to the function."""
        return self._post(self._function_client, self._settings.function, event, prefer_reply=True)

    def abort(self) -> None:
        """End the requests in progress."""
        self._client.abort()
        if self._function_client is not None:
            self._function_client.abort()

    def keep_reply(self, entry: Entry, reply: Event) -> Puts:
        """Return what is stored for a prediction: itself, and the image where it is forwarded."""
        found = reply.extensions
        if found.get("causesource") == entry.event.source and found.get("causeid") != entry.event.id:
            raise EventError("the reply is to another image of this source")
        lanes = choose_lanes(self._settings, self._buckets, entry.event, reply)
        forwarded = [(entry.event, lanes)] if lanes else []
        return [(reply.with_extensions(**self._overrides), (REPLIES,)), *forwarded]

    def report_refusal(self, entry: Entry, judged: AttemptResult) -> Puts:
        """Return what is stored for an image that the function refuses."""
        return self.keep_reply(entry, self._build_refusal(entry, judged, redact(self._settings.function)))

    def report_upload(self, entry: Entry, judged: AttemptResult) -> Puts:
        """Return what is stored for an image that its bucket refuses."""
        return [(self._build_refusal(entry, judged, "its bucket").with_extensions(**self._overrides), (REPLIES,))]

    def _build_refusal(self, entry: Entry, judged: AttemptResult, by: str) -> Event:
        return build_refusal(entry.event, self._settings.site, by=by, status=judged.status, reason=judged.reason)

    def _post(self, to: CredentialedClient | None, url: str, event: Event, *, prefer_reply: bool) -> SinkResponse:
        settings = self._settings
        try:
            if to is not None:
                own, headers = to.current()
            else:
                is_sink = urlsplit(url)[:2] == urlsplit(settings.sink)[:2]  # no other server may get its token
                own, headers = self._client, read_authorization(settings.sink_token) if is_sink else {}
                if prefer_reply:  # a rollout asks the agents of the function's own site
                    headers = {**headers, COUNTED_HEADER: "1"}
        except ConfigError as error:  # for example a file or a Secret that is being replaced
            raise UnreachableError(error.message, hint=error.hint) from error
        return own.post(url, event, prefer_reply=prefer_reply, timeout_s=settings.timeout_s, more_headers=headers)


def build_deliverers(
    settings: AgentSettings,
    spool: Spool,
    client: SinkClient,
    overrides: Mapping[str, str],
    function_client: CredentialedClient | None = None,
    buckets: Mapping[str, ClaimBucket] | None = None,
) -> list[Deliverer]:
    """Build the deliverers: images go to the function and its predictions to the sink.

    Without a function, images go to the sink. The lanes of uploads are only served when there is a bucket, or when they
    have entries of one that there was.

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
    receivers = _Receivers(settings, client, overrides, function_client, claims)
    asks = bool(settings.function)
    find = None
    if asks and settings.choose:
        find_lanes = partial(choose_lanes, settings, claims, is_chosen=True)
        find = partial(find_candidate, settings.choice_limits(), find_lanes)
    images = Deliverer(
        spool,
        IMAGES,
        EventSender(
            receivers.send_to_function if asks else receivers.send_to_sink,
            parallel=settings.parallel,
            on_reply=receivers.keep_reply if asks else None,
            reply_required=asks,
            reply_lane=REPLIES if asks else "",
            read_sample=lambda reply: read_sample(reply, overrides),
            find_candidate=find,
            abort=receivers.abort,
        ),
        backoff=UNLIMITED if function_client is None else LINK_PAUSES,
        report_dead=receivers.report_refusal if asks else None,
        leases=[spool.lease(IMAGES)],
    )
    sender = EventSender(receivers.send_to_sink, abort=receivers.abort)
    replies = Deliverer(spool, REPLIES, sender, backoff=UNLIMITED, leases=[spool.lease(REPLIES)])
    if not claims and not {UPLOADS, FORWARDS} & spool.counts().keys():
        return [images, replies]
    uploads = Deliverer(
        spool,
        (UPLOADS, FORWARDS),
        UploadSender(claims, is_at_site=_is_at_site(settings)),
        backoff=UNLIMITED,
        report_dead=receivers.report_upload,
        leases=[spool.lease(UPLOADS)],
    )
    return [images, replies, uploads]

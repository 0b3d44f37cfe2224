"""Sends a relay's requests to the receiver: batches of events, and large ones in parts.

A probe comes before the first request and after each failure, so a login page or a proxy that blocks every request is
found before an event is suspected.
"""

from __future__ import annotations

import enum
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import AttemptResult, Sender
from eaves.delivery.response_rules import NO_ANSWER, Blame, find_blame, shorten
from eaves.delivery.sink_state import LOGIN_STATUSES
from eaves.errors import ConfigError, DeliveryError, EavesError, StatusError
from eaves.link import BatchAnswer
from eaves.link.batch import Packed, pack
from eaves.link.client import UNAUTHORISED
from eaves.relay.link_speed import TARGET_S, BatchSize, Throughput, ThroughputSample
from eaves.relay.relay_lanes import CLASSES
from eaves.spool import Entry

FOREIGN = 403
"""Status of an event that the receiver assigns to another site. The relay sends events of its own site only, so the
receiver has just learnt to know it by another name, which the next probe shows."""
NO_PARTS = frozenset({404, 405, 501})
"""Statuses of a receiver that doesn't support uploads in parts."""
NOT_THERE = 412
"""HTTP status by which a receiver says that it no longer has the uploaded parts."""
CONFLICT = 409
"""Status of an image whose source and id another event has that the receiver got before."""
TOO_LARGE = 413
LARGE_BYTES = 65_536
"""Minimum size of a single event's body, bytes, for a 413 answer to count as the event's fault. Servers have no smaller
limit, and a proxy that answers every request with 413 must not turn small events into dead letters."""
GATEWAY_STATUSES = frozenset({502, 504})
"""Statuses of a gateway when the receiver behind it ends the connection or takes too long. A successful probe shows
that the receiver runs, so something in the request may be at fault."""
MIN_PART_BYTES = 4_096
"""Minimum size of a part when parts are halved after failures, bytes."""
MAX_STALLS = 3
"""Number of answers in a row that report no new bytes at the receiver before an upload counts as failed."""


class LinkProtocol(Protocol):
    """Interface of a `LinkClient` that the sender needs."""

    @property
    def to(self) -> str:
        """Address of the receiver."""

    def probe(self) -> str:
        """Return the site that the receiver identifies this relay as."""

    def has_new_credentials(self) -> bool:
        """Return whether the credentials have changed since the last request."""

    def send_packed(self, packed: Packed, *, timeout_s: float, uploaded: str = "") -> BatchAnswer:
        """Send one request of events."""

    def send_part(self, digest: str, part: memoryview, *, offset: int, size: int, timeout_s: float) -> int:
        """Send a part of a body, and return how many bytes from the beginning the receiver has."""

    def abort(self) -> None:
        """End the current exchange. May be called from any thread."""


class RequestKind(enum.Enum):
    """Kind of a request to the receiver, which determines what its answer says."""

    BATCH = "batch"
    """A batch of events; the answer has a result for each event."""
    PICTURE = "picture"
    """A single image in binary mode; the answer is only an HTTP status."""
    PART = "part"
    """A part of a large body, or an empty part, which asks how many bytes of the body the receiver has."""
    UPLOADED = "uploaded"
    """The request that turns uploaded parts into an event; the answer has a result for the event."""


@dataclass(slots=True)
class Upload:
    """Progress of a large body that is sent in parts, each as large as the link carries in two seconds.

    The receiver says how many bytes it has, so an upload continues where it was after a cut, or after either end was
    killed.

    Attributes:
        entry: Entry that is sent.
        packed: Complete request.
        digest: SHA-256 of the body, in hexadecimal.
        received: Number of bytes that the receiver has, as far as is known; None before it was asked.
        stalls: Number of answers in a row that report no new bytes.
    """

    entry: Entry
    packed: Packed
    digest: str
    received: int | None = None
    stalls: int = 0

    def next_part(self, max_bytes: int) -> memoryview:
        """Return the next part; the first one is empty and asks how many bytes the receiver already has."""
        if self.received is None:
            return memoryview(b"")
        return memoryview(self.packed.body)[self.received : self.received + max_bytes]

    def answered(self, received: int) -> None:
        """Record how many bytes the receiver has."""
        self.stalls = self.stalls + 1 if self.received is not None and received <= self.received else 0
        self.received = received


@dataclass(slots=True)
class ForwardedCounts:
    """Numbers of forwarded events since the process started.

    Attributes:
        forwarded: Number of events that the receiver's answers account for.
        repeated: Number of those that the receiver already had.
        failed: Number of requests without a usable answer.
        bytes_sent: Size of the answered request bodies, bytes.
    """

    forwarded: int = 0
    repeated: int = 0
    failed: int = 0
    bytes_sent: int = 0


class LinkSender(Sender):
    """Sends entries over the link, one request after the other.

    A single event whose body exceeds the size of a request is sent in parts. A link that is up for only seconds at a
    time can then carry it, and an alarm waits for one part only.

    Args:
        link: Connection to the receiver.
        site: Name by which the receiver must know this site; empty for any name.
        classes: Lanes of the spool.
        rate_bytes: Maximum average rate, bytes per second; 0 for no limit.
        probe_s: Idle time of the link after which it is probed, seconds; 0 to never probe an idle link.
        clock: Monotonic clock.

    Attributes:
        counts: Numbers of forwarded events.
    """

    def __init__(
        self,
        link: LinkProtocol,
        *,
        site: str = "",
        classes: Sequence[str] = CLASSES,
        rate_bytes: int = 0,
        probe_s: float = 45.0,
        clock: Clock = SYSTEM,
    ) -> None:
        self.to = f"to {link.to}"
        self.probe_s = probe_s
        self.counts = ForwardedCounts()
        self._link = link
        self._site = site
        self._rate_bytes = rate_bytes
        self._clock = clock
        self._sendable_at = clock.monotonic()
        self._lock = threading.Lock()
        self._throughput = Throughput()
        self._sizes = {lane: BatchSize() for lane in classes}
        self._upload: Upload | None = None
        self._ahead: tuple[tuple[int, ...], Packed] = (), pack([])
        self._as_batch = self._whole = self._doubted = 0
        self._kind, self._body_bytes = RequestKind.BATCH, 0

    def limits(self, lane: str) -> tuple[int, int]:
        """Return the maximum number of events and of bytes for the next request with entries of a lane."""
        size = self._sizes[lane]
        if not self._rate_bytes:
            return size.max_events, size.max_bytes
        return size.max_events, max(1, min(size.max_bytes, int(self._rate_bytes * TARGET_S)))

    def unfinished(self, lane: str) -> Entry | None:
        """Return the entry of a lane that was sent in part; None without one."""
        return self._upload.entry if self._upload is not None and self._upload.entry.lane == lane else None

    def ready_s(self) -> float:
        """Return the seconds until the rate allows the next request."""
        return max(0.0, self._sendable_at - self._clock.monotonic())

    def wants_probe(self) -> bool:
        """Return whether the credentials have changed since the last request."""
        return self._link.has_new_credentials()

    def abort(self) -> None:
        """End the current exchange."""
        self._link.abort()

    def rates(self) -> tuple[float, float, float] | None:
        """Return events, stored bytes and bytes on the wire per second; None before the first request."""
        with self._lock:
            return self._throughput.rates()

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Pack the batch that will probably be sent next."""
        self._ahead = tuple(entry.seq for entry in entries), pack([entry.event for entry in entries])

    def probe(self) -> None:
        """Ask the receiver which site it identifies this relay as.

        Raises:
            StatusError: When the receiver rejects this relay, or knows it as another site.
            EavesError: When it doesn't answer.
        """
        try:
            site = self._link.probe()
        except ConfigError as error:
            raise StatusError(f"no token was sent: {error.message}", status=UNAUTHORISED) from error
        if self._site in ("", site):
            return
        known = f"the receiver identifies this relay by its token as site {site[:64]!r}"
        advice = f"set site: {site[:64]}, or use the token of {self._site}"
        raise StatusError(f"{known}, but eaves.yaml says site {self._site!r}; {advice}", status=FOREIGN)

    def send(self, lane: str, entries: Sequence[Entry]) -> Sequence[AttemptResult]:
        """Send a batch, a single image, or the next part of a large body."""
        began = self._clock.monotonic()
        try:
            answer = self._request(entries)
        except (DeliveryError, ConfigError) as error:
            return self._judge_failure(lane, entries, error)
        now = self._clock.monotonic()
        is_part = answer is None or self._kind is RequestKind.UPLOADED
        stored = self._body_bytes if is_part else sum(map(entry_bytes, entries))
        self._sizes[lane].succeeded(now - began, len(entries), stored)
        self.counts.bytes_sent += self._body_bytes
        with self._lock:
            events = 0 if answer is None else len(entries)
            self._throughput.add(
                ThroughputSample(
                    ended_at=now, took_s=now - began, events=events, stored_bytes=stored, wire_bytes=self._body_bytes
                )
            )
        if self._rate_bytes:
            self._sendable_at = max(self._sendable_at, began) + self._body_bytes / self._rate_bytes
        return [] if answer is None else self._judge_answer(entries, answer)

    def _judge_answer(self, entries: Sequence[Entry], answer: BatchAnswer) -> Sequence[AttemptResult]:
        self.counts.forwarded += len(entries) - len(answer.refused)
        self.counts.repeated += answer.repeated
        results = [AttemptResult()] * len(entries)
        for one in answer.refused:
            if one.status == FOREIGN:
                reason = f"the waiting events belong to another site than the token: {one.detail}"
                results[one.index] = AttemptResult(status=one.status, blame=Blame.WAY, reason=reason)
            else:
                reason = f"the receiver refuses the event ({one.status}): {one.detail}"
                results[one.index] = AttemptResult(status=one.status, blame=Blame.EVENT, reason=reason)
        foreign = [one for one in results if one.blame is Blame.WAY]
        return foreign[:1] if len(foreign) == len(entries) else results

    def _judge_failure(self, lane: str, entries: Sequence[Entry], error: EavesError) -> Sequence[AttemptResult]:
        """Return what a failed request says; nothing when the next one is to be smaller, or another kind of request."""
        status = error.status if isinstance(error, StatusError) else NO_ANSWER
        asked_s = error.retry_after_s if isinstance(error, StatusError) else None
        entry, alone = entries[0], len(entries) == 1
        self.counts.failed += 1
        if status == NO_ANSWER:
            with self._lock:
                self._throughput.stalled()
        stored = sum(map(entry_bytes, entries))
        if alone:  # perhaps only a part of it was sent
            stored = min(stored, max(self._body_bytes, 1))
        is_large_part = self._kind is RequestKind.PART and self._body_bytes > MIN_PART_BYTES
        if status == TOO_LARGE and (not alone or is_large_part):
            self._sizes[lane].too_large(len(entries), stored)
            return []
        if self._kind is RequestKind.PICTURE and 400 <= status < 500 and _find_blame(status) is Blame.UNKNOWN:
            self._as_batch, self._upload = entry.seq, None
            return []
        blame = self._find_fault(entry, status)
        is_known = alone and entry.attempts > 0 and self.unfinished(lane) is None
        if not is_known and (blame in (Blame.UNKNOWN, Blame.EVENT) or status == NO_ANSWER):
            self._sizes[lane].failed(len(entries), stored)  # a busy receiver needs no smaller requests
        reason = shorten(error.message)
        if blame is Blame.EVENT:
            reason = f"the receiver refuses the event ({status}): {reason}"
        return [AttemptResult(status=status, blame=blame, reason=reason, asked_s=asked_s)]

    def _find_fault(self, entry: Entry, status: int) -> Blame:
        """Return what is at fault for a failed request, after a probe that succeeded."""
        is_all_refused = self._body_bytes >= LARGE_BYTES or (self._kind is RequestKind.PART and not self._body_bytes)
        if status == TOO_LARGE and is_all_refused:
            is_again, self._doubted = self._doubted == entry.seq, entry.seq
            return Blame.EVENT if is_again else Blame.WAY
        if status in GATEWAY_STATUSES and self._kind is RequestKind.PART:
            return Blame.WAY
        return _find_blame(status)

    def put_off(self, entry: Entry) -> None:
        """Interrupt the upload of an entry, so that others can be sent; the receiver keeps the uploaded parts."""
        if self._upload is not None and self._upload.entry.seq == entry.seq:
            self._upload = None
        if self._whole == entry.seq:
            self._whole = 0

    def _request(self, entries: Sequence[Entry]) -> BatchAnswer | None:
        """Make one request; return None after a part that is followed by more."""
        entry, upload = entries[0], self._upload
        if upload is not None and upload.entry.seq == entry.seq:
            return self._continue_upload(upload)
        seqs, packed = self._ahead
        if seqs == tuple(one.seq for one in entries):
            self._ahead = (), pack([])  # another attempt may need another form
        else:
            packed = pack([one.event for one in entries], as_batch=self._as_batch == entry.seq)
        _, max_bytes = self.limits(entry.lane)
        is_small = len(packed.body) <= max_bytes or len(entries) > 1
        if packed.is_batch or is_small or self._whole == entry.seq:
            self._kind = RequestKind.BATCH if packed.is_batch else RequestKind.PICTURE
            self._body_bytes = len(packed.body)
            return self._link.send_packed(packed, timeout_s=self._throughput.limit_s(len(packed.body)))
        self._upload = Upload(entry, packed, hashlib.sha256(packed.body).hexdigest())
        return self._continue_upload(self._upload)

    def _continue_upload(self, upload: Upload) -> BatchAnswer | None:
        """Send the next part of an upload, or ask the receiver to turn the uploaded parts into an event."""
        limit_s, size = self._throughput.limit_s, len(upload.packed.body)
        part = upload.next_part(self.limits(upload.entry.lane)[1])
        self._kind, self._body_bytes = RequestKind.PART, len(part)
        try:
            if upload.received == size:
                self._kind = RequestKind.UPLOADED
                answer = self._link.send_packed(upload.packed, timeout_s=limit_s(0), uploaded=upload.digest)
                self._upload = None
                return answer
            received = self._link.send_part(
                upload.digest, part, offset=upload.received or 0, size=size, timeout_s=limit_s(len(part))
            )
        except StatusError as error:
            if error.status == NOT_THERE:
                self._whole, self._upload = upload.entry.seq, None  # not in parts again, that might never end
                raise DeliveryError(f"the upload starts again: {error.message}") from error
            if error.status in NO_PARTS and not upload.received:
                self._whole, self._upload, self._body_bytes = upload.entry.seq, None, 0
                return None
            raise
        upload.answered(received)
        if upload.stalls >= MAX_STALLS:
            self._upload = None
            raise DeliveryError(f"{self._link.to} accepts parts of an event but stores none of them")
        return None


def _find_blame(status: int) -> Blame:
    """Return what is at fault for a status of a request of events, after a probe that succeeded."""
    if status in LOGIN_STATUSES | GATEWAY_STATUSES | {CONFLICT, TOO_LARGE}:
        return Blame.UNKNOWN
    return find_blame(status)


def entry_bytes(entry: Entry) -> int:
    """Return the size of an entry's data and attributes, bytes, about as the queue counts them."""
    return len(entry.event.data) + sum(len(name) + len(value) + 8 for name, value in entry.event.attributes().items())

"""Sends a relay's requests to the receiver: batches of events, and large ones in parts.

A probe comes before the first request and after each failure, so a login page or a proxy that blocks every request is
found before an event is suspected.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from eaves.base.clock import SYSTEM, Clock
from eaves.delivery import AttemptResult, Sender
from eaves.delivery.response_rules import NO_ANSWER, Blame, find_blame, shorten
from eaves.delivery.sink_state import LOGIN_STATUSES
from eaves.errors import ConfigError, DeliveryError, EavesError, StatusError
from eaves.events import source_uri
from eaves.link.client import UNAUTHORISED, LinkClient
from eaves.link.protocol import BatchAnswer, Packed, pack
from eaves.link.settings import CLASSES
from eaves.spool import Entry

FOREIGN = 403
"""Status of an event that the receiver assigns to another site. For an event of the relay's own site, the receiver has
just learnt to know it by another name, which the next probe shows."""
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

MAX_BYTES, MAX_EVENTS = 1_000_000, 1_000
"""Maximum size of a batch before gzip, bytes and events. Reading and packing a batch takes ten times its size in
memory, and a larger one saves next to nothing. Two batches of 1,500 small events took the relay to 51 MB; a receiver
takes 2,000 events."""
FIRST_BYTES, MIN_BYTES = 65_536, 4_096
MIN_MAX_EVENTS = 100
"""Minimum to which `max_events` is lowered when a request was too large. A request of fewer events was too large
because of its bytes, not its number of events."""
TARGET_S = 2.0
"""Maximum time for a request, seconds. An alarm that arrives meanwhile waits that long."""
WINDOW_S = 60.0
ASSUMED_BYTES_PER_S, SLOWEST_BYTES_PER_S = 8_000.0, 1_000.0
"""Assumed speed of a link without measurements, 64 kbit/s, and the lowest that is assumed, bytes per second."""
ANSWER_S = 10.0
"""Maximum time that the receiver may take to answer once a request has arrived, seconds."""
MARGIN = 4.0
"""Factor by which the link may become slower than measured before a request counts as hanging."""

BATCH, PICTURE, PART, UPLOADED = "batch", "picture", "part", "uploaded"
"""Kinds of a request: a batch, whose answer has a result for each event; a single image in binary mode, whose answer is
only an HTTP status; a part of a large body, or an empty part, which asks how many bytes the receiver has; and the
request that turns uploaded parts into an event, whose answer has a result for the event."""


class BatchSize:
    """Size of the next request with entries of one lane. Not thread-safe.

    Attributes:
        max_bytes: Maximum size of data and attributes, bytes.
        max_events: Maximum number of events.
    """

    def __init__(self) -> None:
        self.max_bytes = FIRST_BYTES
        self.max_events = MAX_EVENTS
        self._largest, self._most = MAX_BYTES, MAX_EVENTS

    def succeeded(self, took_s: float, events: int, size_bytes: int) -> None:
        """Adapt the size after a request that succeeded: grow when it was full and quick, shrink when it was slow.

        The size approaches two seconds per request, because a slow link is idle while an answer is awaited.
        """
        if took_s > TARGET_S:
            self.max_bytes = max(MIN_BYTES, int(size_bytes * TARGET_S / took_s))
            return
        if events * 2 > self.max_events:
            self.max_events = min(self._most, events * 2)
        if size_bytes * 2 > self.max_bytes:
            factor = min(2.0, TARGET_S / max(took_s, 0.001))
            self.max_bytes = min(self._largest, max(self.max_bytes, int(size_bytes * factor)))

    def too_large(self, events: int, size_bytes: int) -> None:
        """Lower the maximum size permanently, because the receiver or a proxy refuses requests of this size."""
        self._largest = max(MIN_BYTES, min(self._largest, size_bytes // 2))
        self._most = max(MIN_MAX_EVENTS, min(self._most, events // 2))
        self.failed(events, size_bytes)

    def failed(self, events: int, size_bytes: int) -> None:
        """Halve the size of the next request after a request failed; the minimum is a single event."""
        self.max_events = max(1, events // 2)
        self.max_bytes = max(MIN_BYTES, min(self.max_bytes, size_bytes // 2))


class Throughput:
    """Measures the speed of the link while requests are sent; idle time doesn't count. Safe to use from two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, float, int, int, int]] = deque()
        """End, duration, events, stored bytes and bytes on the wire of each request that succeeded lately."""
        self._best = ASSUMED_BYTES_PER_S

    def add(self, ended_at: float, took_s: float, events: int, stored_bytes: int, wire_bytes: int) -> None:
        """Add a request that succeeded, and forget those older than a minute."""
        with self._lock:
            self._samples.append((ended_at, took_s, events, stored_bytes, wire_bytes))
            while self._samples[0][0] < ended_at - WINDOW_S:
                self._samples.popleft()
            self._best = max(one[-1] / max(one[1], 1e-3) for one in self._samples)

    def stalled(self) -> None:
        """Lower the assumed speed of the link, because a request got no answer."""
        self._best = max(SLOWEST_BYTES_PER_S, self._best / MARGIN)

    def limit_s(self, wire_bytes: int) -> float:
        """Return the time after which a request of so many bytes counts as unanswered, seconds."""
        return ANSWER_S + MARGIN * wire_bytes / max(SLOWEST_BYTES_PER_S, self._best)

    def rates(self) -> Sequence[float] | None:
        """Return events, stored bytes and bytes on the wire per second; None before the first request."""
        with self._lock:
            _, busy_s, *sums = map(sum, zip(*self._samples, strict=True)) if self._samples else (0.0, 0.0)
        return [one / busy_s for one in sums] if busy_s > 0 else None


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
        link: Client of the receiver.
        site: Name by which the receiver must know this site.
        rate_bytes: Maximum average rate, bytes per second; 0 for no limit.
        probe_s: Idle time of the link after which it is probed, so that the status is true, seconds; 0 to never probe
            an idle link.
        clock: Monotonic clock.

    Attributes:
        counts: Numbers of forwarded events.
        throughput: Speed of the link.
    """

    def __init__(
        self, link: LinkClient, *, site: str, rate_bytes: int = 0, probe_s: float = 45.0, clock: Clock = SYSTEM
    ) -> None:
        self.to = f"to {link.to}"
        self.probe_s = probe_s
        self.counts = ForwardedCounts()
        self.throughput = Throughput()
        self._link = link
        self._site = site
        self._rate_bytes = rate_bytes
        self._clock = clock
        self._sendable_at = clock.monotonic()
        self._sizes = {lane: BatchSize() for lane in CLASSES}
        self._upload: Upload | None = None
        self._uploaded = (0, 0)
        """Number of the entry that was last sent in parts, and how many of its bytes the receiver ever had."""
        self._ahead: tuple[tuple[int, ...], Packed] = (), pack([])
        self._as_batch = self._doubted = 0
        """Numbers of the entry that is sent as a batch in any case, and of the one that got 413 alone."""
        self._kind, self._body_bytes = BATCH, 0

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

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Pack the batch that will probably be sent next."""
        self._ahead = tuple(entry.seq for entry in entries), pack([entry.event for entry in entries])

    def put_off(self, entry: Entry) -> None:
        """Interrupt the upload of an entry, so that others can be sent; the receiver keeps the uploaded parts."""
        if self._upload is not None and self._upload.entry.seq == entry.seq:
            self._upload = None

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
        if self._site == site:
            return
        known = f"the receiver identifies this relay by its token as site {site[:64]!r}"
        advice = f"set site: {site[:64]}, or use the token of {self._site}"
        raise StatusError(f"{known}, but eaves.yaml says site {self._site!r}; {advice}", status=FOREIGN)

    def send(self, lane: str, entries: Sequence[Entry]) -> Sequence[AttemptResult] | None:
        """Send a batch, a single image, or the next part of a large body."""
        began = self._clock.monotonic()
        try:
            answer = self._request(entries)
        except (DeliveryError, ConfigError) as error:
            return self._judge_failure(lane, entries, error)
        now = self._clock.monotonic()
        is_part = answer is None or self._kind == UPLOADED
        stored = self._body_bytes if is_part else sum(entry.size_bytes for entry in entries)
        self._sizes[lane].succeeded(now - began, len(entries), stored)
        self.throughput.add(now, now - began, 0 if answer is None else len(entries), stored, self._body_bytes)
        self.counts.bytes_sent += self._body_bytes
        if self._rate_bytes:
            self._sendable_at = max(self._sendable_at, began) + self._body_bytes / self._rate_bytes
        if answer is None:
            return [] if self._has_gained(entries[0].seq) else None
        return self._judge_answer(entries, answer)

    def _has_gained(self, seq: int) -> bool:
        """Return whether the receiver has more bytes of an upload than ever before.

        One that loses parts gets them again; that isn't progress, or an image that it always loses would be sent at
        full speed for ever.
        """
        before = self._uploaded[1] if self._uploaded[0] == seq else 0
        received = self._upload.received or 0 if self._upload is not None else 0
        self._uploaded = seq, max(before, received)
        return received > before

    def _judge_answer(self, entries: Sequence[Entry], answer: BatchAnswer) -> Sequence[AttemptResult]:
        self.counts.forwarded += len(entries) - len(answer.refused)
        self.counts.repeated += answer.repeated
        results = [AttemptResult()] * len(entries)
        for one in answer.refused:
            blame, what = Blame.EVENT, f"the receiver refuses the event ({one.status})"
            if one.status == FOREIGN and entries[one.index].event.source.startswith(source_uri(self._site, "")):
                blame, what = Blame.WAY, "the waiting events belong to another site than the token"
            results[one.index] = AttemptResult(status=one.status, blame=blame, reason=f"{what}: {one.detail}")
        is_all_foreign = all(one.blame is Blame.WAY for one in results)
        return results[:1] if is_all_foreign else results

    def _judge_failure(self, lane: str, entries: Sequence[Entry], error: EavesError) -> Sequence[AttemptResult] | None:
        """Return what a failed request says; None when the next one is to be smaller, or another kind of request."""
        status, asked_s = NO_ANSWER, None
        if isinstance(error, StatusError):
            status, asked_s = error.status, error.retry_after_s
        entry, alone = entries[0], len(entries) == 1
        self.counts.failed += 1
        if status == NO_ANSWER:
            self.throughput.stalled()
        stored = sum(entry.size_bytes for entry in entries)
        if alone:  # perhaps only a part of it was sent
            stored = min(stored, max(self._body_bytes, 1))
        is_large_part = self._kind == PART and self._body_bytes > MIN_PART_BYTES
        if status == TOO_LARGE and (not alone or is_large_part or self._kind == PICTURE):  # which goes in parts next
            self._sizes[lane].too_large(len(entries), stored)
            return None
        if self._kind == PICTURE and 400 <= status < 500 and _find_blame(status) is Blame.UNKNOWN:
            self._as_batch, self._upload = entry.seq, None
            return None
        blame = self._find_fault(entry, status)
        is_known = alone and entry.attempts > 0 and self.unfinished(lane) is None
        is_busy = blame is Blame.LATER and asked_s is not None
        if not (is_known or is_busy):  # a busy receiver needs no smaller requests
            self._sizes[lane].failed(len(entries), stored)
        reason = shorten(error.message)
        if blame is Blame.EVENT:
            reason = f"the receiver refuses the event ({status}): {reason}"
        return [AttemptResult(status=status, blame=blame, reason=reason, asked_s=asked_s)]

    def _find_fault(self, entry: Entry, status: int) -> Blame:
        """Return what is at fault for a failed request, after a probe that succeeded."""
        is_large_batch = self._kind == BATCH and self._body_bytes >= LARGE_BYTES
        if status == TOO_LARGE and (is_large_batch or (self._kind == PART and not self._body_bytes)):
            is_again, self._doubted = self._doubted == entry.seq, entry.seq
            return Blame.EVENT if is_again else Blame.WAY
        if status in GATEWAY_STATUSES and self._kind == PART:
            return Blame.WAY
        return _find_blame(status)

    def _request(self, entries: Sequence[Entry]) -> BatchAnswer | None:
        """Make one request; return None after a part that is followed by more."""
        entry = entries[0]
        if self._upload is not None and self._upload.entry.seq == entry.seq:
            return self._continue_upload(self._upload)
        seqs, packed = self._ahead
        if seqs == tuple(one.seq for one in entries):
            self._ahead = (), pack([])  # another attempt may need another form
        else:
            packed = pack([one.event for one in entries], as_batch=self._as_batch == entry.seq)
        size = len(packed.body)
        if packed.is_batch or size <= self.limits(entry.lane)[1]:
            self._kind, self._body_bytes = BATCH if packed.is_batch else PICTURE, size
            return self._link.send_packed(packed, timeout_s=self.throughput.limit_s(size))
        self._upload = Upload(entry, packed, hashlib.sha256(packed.body).hexdigest())
        return self._continue_upload(self._upload)

    def _continue_upload(self, upload: Upload) -> BatchAnswer | None:
        """Send the next part of an upload, or ask the receiver to turn the uploaded parts into an event.

        The first part is empty and asks how many bytes the receiver already has.
        """
        limit_s, size, begin = self.throughput.limit_s, len(upload.packed.body), upload.received or 0
        part = memoryview(upload.packed.body)[begin : begin + self.limits(upload.entry.lane)[1]]
        if upload.received is None:
            part = part[:0]
        self._kind, self._body_bytes = PART, len(part)
        if upload.received == size:
            self._kind = UPLOADED
            try:
                answer = self._link.send_packed(upload.packed, timeout_s=limit_s(0), uploaded=upload.digest)
            except StatusError as error:
                self._upload = None
                if error.status == NOT_THERE:
                    raise DeliveryError(f"the upload starts again: {error.message}") from error
                raise
            self._upload = None
            return answer
        received = self._link.send_part(upload.digest, part, offset=begin, size=size, timeout_s=limit_s(len(part)))
        is_stalled = upload.received is not None and received <= upload.received
        upload.stalls, upload.received = upload.stalls + 1 if is_stalled else 0, received
        if upload.stalls >= MAX_STALLS:
            self._upload = None
            raise DeliveryError(f"{self._link.to} accepts parts of an event but stores none of them")
        return None


def _find_blame(status: int) -> Blame:
    """Return what is at fault for a status of a request of events, after a probe that succeeded."""
    if status in LOGIN_STATUSES | GATEWAY_STATUSES | {CONFLICT, TOO_LARGE}:
        return Blame.UNKNOWN
    return find_blame(status)

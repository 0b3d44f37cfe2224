"""One request of entries: all of them at once, or the next part of a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from eaves.errors import DeliveryError, EavesError, StatusError
from eaves.link import BatchAnswer
from eaves.link.body_gate import HOLD_S, BodyGate
from eaves.link.packing import Packed, pack
from eaves.relay.requests.pack_ahead import LEAST_ENTRIES, PackAhead, Prepared
from eaves.relay.requests.request_failure import RequestKind
from eaves.relay.requests.upload import Upload
from eaves.spool import Entry

NO_PARTS = frozenset({404, 405, 501})
"""Statuses of a receiver that takes no parts."""
FIRST_PAUSE, EARLY_PAUSE, LONGEST_PAUSE = 2, 50, 3_200
"""Requests until one is begun before its turn again: after one of two that were under way failed, after one broke off
before its turn, and at most. Each failure doubles it until one gets through: a receiver, or something on the way, that
has no room for two of them doesn't have it at the next one either, and each attempt may cost a pause of seconds."""
NOT_THERE = 412
"""Status of a receiver that no longer has what was sent in parts."""


class LinkProtocol(Protocol):
    """What is needed of a `LinkClient`."""

    @property
    def to(self) -> str:
        """The receiver's address."""

    def probe(self) -> str:
        """The site that the receiver takes us for."""

    def has_new_credentials(self) -> bool:
        """Whether the credentials were changed since the last request."""

    def send_packed(
        self, packed: Packed, *, timeout_s: float, uploaded: str = "", gate: BodyGate | None = None
    ) -> BatchAnswer:
        """Send one request of events; from any thread."""

    def send_part(self, digest: str, part: memoryview, *, offset: int, size: int, timeout_s: float) -> int:
        """Send a part of a body; how many bytes from the beginning are there."""

    def abort(self) -> None:
        """End the exchange that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request that got through.

    Attributes:
        answer: What became of the entries; None after a part, when more is to come.
        wire_bytes: Its body.
    """

    answer: BatchAnswer | None
    wire_bytes: int


class Sender:
    """Makes the requests of a forwarder. For its thread alone.

    A single event whose body is larger than a request may be is sent in parts, so that a link that is up for seconds at
    a time carries it, and an alarm waits for one part of it only.

    Args:
        link: The way to the receiver.

    Attributes:
        kind: What the last request was.
        attempted_bytes: The body of the last request, whether it got through or not.
    """

    def __init__(self, link: LinkProtocol) -> None:
        self.kind = RequestKind.BATCH
        self.attempted_bytes = 0
        self._link = link
        self._upload: Upload | None = None
        self._takes_parts = True
        self._as_batch = self._whole = 0
        self._ahead = PackAhead()
        self._prepared: Prepared | None = None
        self._early_again_in, self._early_pause, self._is_second_begun = 0, FIRST_PAUSE, False

    def unfinished(self, lane: str) -> Entry | None:
        """The entry of a class that was sent in part."""
        return self._upload.entry if self._upload is not None and self._upload.lane == lane else None

    def is_under_way(self, entry: Entry) -> bool:
        """Whether a part of an entry was sent and the next one is to follow."""
        return self._upload is not None and self._upload.entry.seq == entry.seq

    def put_off(self, entry: Entry) -> None:
        """Send something else first. What was sent in parts stays at the receiver."""
        if self.is_under_way(entry):
            self._upload = None
        if self._whole == entry.seq:
            self._whole = 0

    def prefer_batch(self, entry: Entry) -> None:
        """Send this entry as a batch from now on."""
        self._as_batch = entry.seq
        self._upload = None

    def known(self) -> Sequence[Entry]:
        """The entries of the request that is prepared, which need not be read again."""
        return self._ahead.entries()

    def prepared(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those of the chosen entries that the next request should hold: what is packed already, or all of them."""
        self._prepared = self._ahead.get_packed(entries)
        if self._prepared is None:
            return entries
        if self._prepared.gate is not None and self._prepared.answer.done():
            self._prepared.gate = None  # it broke off before its turn
            self._put_off_early(EARLY_PAUSE)
        return self._prepared.entries

    def stop(self) -> None:
        """End what is done in another thread."""
        self._ahead.stop()

    def send(
        self,
        lane: str,
        entries: Sequence[Entry],
        *,
        max_bytes: int,
        limit_s: Callable[[int], float],
        guess_next: Callable[[], Sequence[Entry]] = lambda: (),
        sends_ahead: bool = False,
    ) -> SentRequest:
        """Make one request.

        Args:
            lane: The class of the entries.
            entries: What is to be sent, as `prepared` gave them.
            max_bytes: Largest body of a part.
            limit_s: Gives how long a body of so many bytes may take, seconds.
            guess_next: Gives the entries that are likely to be sent next. Called in another thread.
            sends_ahead: Whether the next request may be sent meanwhile, but for its end.

        Raises:
            ConfigError: When the credentials can't be read.
            DeliveryError: When there is no usable answer.
        """
        upload = self._upload
        if upload is not None and self.is_under_way(entries[0]):
            return self._go_on(upload, max_bytes, limit_s)
        prepared = self._take_prepared(entries)
        packed = prepared.packed
        gate = prepared.gate or BodyGate(is_open=True)
        self._is_second_begun = False
        if len(entries) >= LEAST_ENTRIES:
            self._early_again_in = max(0, self._early_again_in - 1)
            early = partial(self._send_early, limit_s) if sends_ahead and not self._early_again_in else None
            self._ahead.prepare(guess_next, after=gate, send=early)
            self._is_second_begun = early is not None
        in_parts = self._takes_parts and self._whole != entries[0].seq and len(packed.body) > max_bytes
        if packed.is_batch or not in_parts:
            if not packed.is_batch and self._as_batch == entries[0].seq:
                packed = pack([entries[0].event], as_batch=True)
            self.kind = RequestKind.BATCH if packed.is_batch else RequestKind.PICTURE
            self.attempted_bytes = len(packed.body)
            answer = self._exchange(prepared, packed, gate, limit_s(len(packed.body)))
            return SentRequest(answer=answer, wire_bytes=len(packed.body))
        self._upload = Upload(lane, entries[0], packed)
        return self._go_on(self._upload, max_bytes, limit_s)

    def _take_prepared(self, entries: Sequence[Entry]) -> Prepared:
        found, self._prepared = self._prepared, None
        if found is not None and found.entries is entries:
            return found
        return Prepared(entries, pack([entry.event for entry in entries]))

    def _send_early(self, limit_s: Callable[[int], float], packed: Packed, gate: BodyGate) -> BatchAnswer:
        """Make a request whose end waits for its turn. Called in another thread."""
        return self._link.send_packed(packed, timeout_s=limit_s(len(packed.body)) + HOLD_S, gate=gate)

    def _exchange(self, prepared: Prepared, packed: Packed, gate: BodyGate, limit_s: float) -> BatchAnswer:
        """Finish the request that was begun, or make it now; what is prepared after it is forgotten when it fails."""
        try:
            if prepared.gate is None:
                return self._link.send_packed(packed, timeout_s=limit_s, gate=gate)
            gate.open()
            try:
                answer = prepared.answer.result(limit_s)
            except TimeoutError as error:
                self._link.abort()
                raise DeliveryError(f"no answer from {self._link.to} within {limit_s:.3g} s") from error
            except EavesError:
                if gate.is_passed:
                    raise
            else:
                self._early_pause = FIRST_PAUSE
                return answer
            self._put_off_early(EARLY_PAUSE)  # no receiver has it: it broke off before its end was let go
            return self._link.send_packed(packed, timeout_s=limit_s)
        except EavesError:
            self._ahead.stop()
            if self._is_second_begun or prepared.gate is not None:
                self._put_off_early(FIRST_PAUSE)
            raise

    def _put_off_early(self, least: int) -> None:
        """Begin no request before its turn for a while, which is longer each time that it fails."""
        self._early_again_in = max(least, self._early_pause)
        self._early_pause = min(LONGEST_PAUSE, 2 * self._early_again_in)

    def _go_on(self, upload: Upload, max_bytes: int, limit_s: Callable[[int], float]) -> SentRequest:
        """Send the next part of an upload, or say that the parts are an event."""
        part = upload.next_part(max_bytes)
        self.kind, self.attempted_bytes = RequestKind.PART, len(part)
        try:
            if upload.is_complete:
                self.kind = RequestKind.UPLOADED
                answer = self._link.send_packed(upload.packed, timeout_s=limit_s(0), uploaded=upload.digest)
                self._upload = None
                return SentRequest(answer=answer, wire_bytes=0)
            received = self._link.send_part(
                upload.digest, part, offset=upload.received, size=upload.size, timeout_s=limit_s(len(part))
            )
        except StatusError as error:
            if error.status == NOT_THERE:
                self._whole, self._upload = upload.entry.seq, None  # not in parts at once: that might never end
                raise DeliveryError(f"an upload begins anew: {error.message}") from error
            if error.status in NO_PARTS and not upload.received:
                self._takes_parts, self._upload = False, None
                return SentRequest(answer=None, wire_bytes=0)
            raise
        upload.answered(received)
        if upload.is_stuck:
            self._upload = None
            raise DeliveryError(f"{self._link.to} answers for parts of an event and keeps none of them")
        return SentRequest(answer=None, wire_bytes=len(part))

"""Sending of one request, with all of its entries or with the next part of a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from eaves.errors import DeliveryError, EavesError, StatusError
from eaves.link import BatchAnswer
from eaves.link.batch import Packed, pack
from eaves.link.body_gate import HOLD_S, BodyGate
from eaves.relay.requests.pack_ahead import LEAST_ENTRIES, PackAhead, Prepared
from eaves.relay.requests.request_failure import RequestKind
from eaves.relay.requests.upload import Upload
from eaves.spool import Entry

NO_PARTS = frozenset({404, 405, 501})
"""Statuses of a receiver that doesn't support uploads in parts."""
FIRST_PAUSE, EARLY_PAUSE, LONGEST_PAUSE = 2, 50, 3_200
"""Numbers of requests during which no request is begun early, that is, while another is in progress. The first applies
after one of two concurrent requests failed, the second after an early request broke off before its turn, and the third
is the maximum. Each failure doubles the pause until a request succeeds. A receiver, or a proxy, without room for two
requests doesn't have it at the next one either, and each attempt may cost a pause of seconds."""
NOT_THERE = 412
"""HTTP status by which a receiver says that it no longer has the uploaded parts."""


class LinkProtocol(Protocol):
    """Interface of a `LinkClient` that the sender needs."""

    @property
    def to(self) -> str:
        """Address of the receiver."""

    def probe(self) -> str:
        """Return the site that the receiver identifies this relay as."""

    def has_new_credentials(self) -> bool:
        """Return whether the credentials have changed since the last request."""

    def send_packed(
        self, packed: Packed, *, timeout_s: float, uploaded: str = "", gate: BodyGate | None = None
    ) -> BatchAnswer:
        """Send one request of events. May be called from any thread."""

    def send_part(self, digest: str, part: memoryview, *, offset: int, size: int, timeout_s: float) -> int:
        """Send a part of a body, and return how many bytes from the beginning the receiver has."""

    def abort(self) -> None:
        """End the current exchange."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request that succeeded.

    Attributes:
        answer: Result for each entry; None after a part that is followed by more.
        wire_bytes: Size of the request's body, bytes.
    """

    answer: BatchAnswer | None
    wire_bytes: int


class Sender:
    """Sends a forwarder's requests to the receiver. For the forwarder's thread only.

    A single event whose body exceeds the size of a request is sent in parts. A link that is up for only seconds at a
    time can then carry it, and an alarm waits for one part only.

    Args:
        link: Connection to the receiver.

    Attributes:
        kind: Kind of the last request.
        attempted_bytes: Size of the last request's body, bytes, whether it succeeded or not.
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
        """Return the entry of a lane that was sent in part; None without one."""
        return self._upload.entry if self._upload is not None and self._upload.lane == lane else None

    def is_under_way(self, entry: Entry) -> bool:
        """Return whether an entry was sent in part and its next part follows."""
        return self._upload is not None and self._upload.entry.seq == entry.seq

    def put_off(self, entry: Entry) -> None:
        """Interrupt the upload of an entry, so that others can be sent; the receiver keeps the uploaded parts."""
        if self.is_under_way(entry):
            self._upload = None
        if self._whole == entry.seq:
            self._whole = 0

    def prefer_batch(self, entry: Entry) -> None:
        """Send this entry as a batch from now on."""
        self._as_batch = entry.seq
        self._upload = None

    def known(self) -> Sequence[Entry]:
        """Return the entries of the request that was prepared ahead, which need not be read from the spool again."""
        return self._ahead.entries()

    def prepared(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the entries for the next request: those that were packed ahead, or else all of the given ones."""
        self._prepared = self._ahead.get_packed(entries)
        if self._prepared is None:
            return entries
        if self._prepared.gate is not None and self._prepared.answer.done():
            self._prepared.gate = None  # the early request broke off before its turn
            self._put_off_early(EARLY_PAUSE)
        return self._prepared.entries

    def stop(self) -> None:
        """Stop the thread that prepares requests ahead."""
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
        """Send one request: a batch, a single image, or the next part of a large body.

        Args:
            lane: Lane of the entries.
            entries: Entries to send, as `prepared` returned them.
            max_bytes: Maximum body size of a part, bytes.
            limit_s: Returns the time limit for a body of a given size in bytes, seconds.
            guess_next: Returns the entries that are likely to be sent next. Called in another thread.
            sends_ahead: Whether the next request, except for its last piece, may be sent while this one is in progress.

        Raises:
            ConfigError: When the credentials can't be read.
            DeliveryError: When there is no usable answer.
        """
        upload = self._upload
        if upload is not None and self.is_under_way(entries[0]):
            return self._continue_upload(upload, max_bytes, limit_s)
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
        return self._continue_upload(self._upload, max_bytes, limit_s)

    def _take_prepared(self, entries: Sequence[Entry]) -> Prepared:
        found, self._prepared = self._prepared, None
        if found is not None and found.entries is entries:
            return found
        return Prepared(entries, pack([entry.event for entry in entries]))

    def _send_early(self, limit_s: Callable[[int], float], packed: Packed, gate: BodyGate) -> BatchAnswer:
        """Send a request and hold back its last piece until `gate` opens. Called in another thread."""
        return self._link.send_packed(packed, timeout_s=limit_s(len(packed.body)) + HOLD_S, gate=gate)

    def _exchange(self, prepared: Prepared, packed: Packed, gate: BodyGate, limit_s: float) -> BatchAnswer:
        """Finish the request that was begun early, or send it now, and return its answer.

        On failure the request that was prepared to follow it is dropped.
        """
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
            self._put_off_early(EARLY_PAUSE)  # no receiver has it: it broke off before its end was sent
            return self._link.send_packed(packed, timeout_s=limit_s)
        except EavesError:
            self._ahead.stop()
            if self._is_second_begun or prepared.gate is not None:
                self._put_off_early(FIRST_PAUSE)
            raise

    def _put_off_early(self, least: int) -> None:
        """Begin none of the next `least` requests early; while no request succeeds, each call doubles the number."""
        self._early_again_in = max(least, self._early_pause)
        self._early_pause = min(LONGEST_PAUSE, 2 * self._early_again_in)

    def _continue_upload(self, upload: Upload, max_bytes: int, limit_s: Callable[[int], float]) -> SentRequest:
        """Send the next part of an upload, or ask the receiver to turn the uploaded parts into an event."""
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
                self._whole, self._upload = upload.entry.seq, None  # not in parts again, that might never end
                raise DeliveryError(f"the upload starts again: {error.message}") from error
            if error.status in NO_PARTS and not upload.received:
                self._takes_parts, self._upload = False, None
                return SentRequest(answer=None, wire_bytes=0)
            raise
        upload.answered(received)
        if upload.is_stuck:
            self._upload = None
            raise DeliveryError(f"{self._link.to} accepts parts of an event but stores none of them")
        return SentRequest(answer=None, wire_bytes=len(part))

"""Replies to repeated events: a repetition waits while the first request is processed, and later gets the stored reply.

Brokers and agents deliver each event at least once, and a sender whose time limit has passed sends the event again
while the first request still runs. Both requests get the same bytes, and the model runs once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eaves.errors import InWorkError

if TYPE_CHECKING:
    from concurrent.futures import Future

WAIT_S = 60.0
MAX_BYTES = 64 * 1024
"""Maximum size of a stored reply, bytes; larger replies (long embeddings) are computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedReply:
    """A finished reply, as the headers and the body of an HTTP response."""

    headers: Mapping[str, str]
    body: bytes


class ReplyCache:
    """Replies that are in progress, and the latest finished ones, by event; safe to use from many threads.

    Args:
        size: Number of finished replies to store. With 0 none is stored, but requests still share a reply in progress.
        wait_s: Maximum seconds to wait for a reply in progress.
    """

    def __init__(self, size: int, *, wait_s: float = WAIT_S) -> None:
        self._size = size
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, CachedReply] = OrderedDict()
        self._in_work: dict[Hashable, Future[CachedReply]] = {}

    def get_or_make(self, key: Hashable, make: Callable[[], CachedReply]) -> tuple[CachedReply, bool]:
        """Return the reply to an event: stored, in progress in another thread, or made by this call.

        Args:
            key: Key that is equal for repetitions of an event.
            make: Function that makes the reply. All waiting callers get its exception, which is not stored.

        Returns:
            reply: The reply, the same for all callers.
            made: Whether this call made it.

        Raises:
            InWorkError: When the first call doesn't finish in time.
        """
        from concurrent.futures import Future  # a start that no event waits for doesn't pay for it

        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept, False
            work = self._in_work.get(key)
            mine: Future[CachedReply] | None = None
            if work is None:
                mine = self._in_work[key] = Future()
        try:
            if work is not None:
                return self._wait(work), False
            assert mine is not None  # noqa: S101 - this call is the first
            return self._make(key, make, mine), True
        finally:
            # An error refers to this frame, and the work refers to the error: without this the image would stay in
            # memory until the garbage collector finds the cycle.
            work = mine = None

    def _make(self, key: Hashable, make: Callable[[], CachedReply], mine: Future[CachedReply]) -> CachedReply:
        try:
            reply = make()
        except BaseException as error:
            self._finish(key, None)
            mine.set_exception(error)
            del mine  # as in `get_or_make`
            raise
        self._finish(key, reply)
        mine.set_result(reply)
        return reply

    def _wait(self, work: Future[CachedReply]) -> CachedReply:
        from concurrent.futures import wait

        try:
            if not wait([work], self._wait_s).done:
                raise InWorkError("the same event is still being processed", hint="send it again later")
            return work.result()
        finally:
            del work  # as in `get_or_make`

    def _finish(self, key: Hashable, reply: CachedReply | None) -> None:
        with self._lock:
            del self._in_work[key]
            if reply is not None and self._size and len(reply.body) <= MAX_BYTES:
                self._kept[key] = reply
                if len(self._kept) > self._size:
                    self._kept.popitem(last=False)

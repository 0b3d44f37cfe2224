"""Events that come twice: while the first is in work the second waits for its reply, later ones get it from memory.

Brokers and agents deliver at least once, and a sender whose time ran out sends again while the first still runs. Both
get the same bytes, and the model runs once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass

from eaves.errors import InWorkError

WAIT_S = 60.0
MAX_BYTES = 64 * 1024
"""Of a reply that is kept; larger ones (embeddings of many numbers) are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedReply:
    """An answer as it goes over HTTP."""

    headers: Mapping[str, str]
    body: bytes


class ReplyCache:
    """Replies in work and the latest ones, by event; safe to use from many threads.

    Args:
        size: How many replies are kept; 0: none, but those in work are shared even so.
        wait_s: Longest wait for the first's reply.
    """

    def __init__(self, size: int, *, wait_s: float = WAIT_S) -> None:
        self._size = size
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, CachedReply] = OrderedDict()
        self._in_work: dict[Hashable, Future[CachedReply]] = {}

    def get_or_make(self, key: Hashable, make: Callable[[], CachedReply]) -> tuple[CachedReply, bool]:
        """The reply to an event, made by the first that asks.

        Args:
            key: What makes two events the same.
            make: Makes the reply; what it raises goes to all who wait, and is not kept.

        Returns:
            reply: The same for all.
            made: Whether this call made it.

        Raises:
            InWorkError: When the first doesn't come to an end in time.
        """
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
            # An error knows this frame, and the work knows the error: without this the image would stay in memory
            # until the garbage collector finds the circle.
            work = mine = None

    def _make(self, key: Hashable, make: Callable[[], CachedReply], mine: Future[CachedReply]) -> CachedReply:
        try:
            reply = make()
        except BaseException as error:
            self._finish(key, None)
            mine.set_exception(error)
            del mine  # as in `once`
            raise
        self._finish(key, reply)
        mine.set_result(reply)
        return reply

    def _wait(self, work: Future[CachedReply]) -> CachedReply:
        try:
            if not wait([work], self._wait_s).done:
                raise InWorkError("the same event is still in work", hint="send it again later")
            return work.result()
        finally:
            del work  # as in `once`

    def _finish(self, key: Hashable, reply: CachedReply | None) -> None:
        with self._lock:
            del self._in_work[key]
            if reply is not None and self._size and len(reply.body) <= MAX_BYTES:
                self._kept[key] = reply
                if len(self._kept) > self._size:
                    self._kept.popitem(last=False)

"""A memory of what was sent, as the spool keeps it, in a dictionary."""

from collections.abc import Collection

from eaves.base.clock import SYSTEM, Clock


class DictIndex:
    """Implements `eaves.sources.context.SentIndex`.

    Attributes:
        added: How many ids were put.
        times: Event id to when it was put or touched last, Unix seconds.
        asked: Ids that `seen` was asked for, in order.
        batches: How many ids each call of `touch` named.
        forgotten: How often `forget` was called.
        error: Raised by `remember` while it is set.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self.added = 0
        self.times: dict[str, float] = {}
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.forgotten = 0
        self.error: Exception | None = None
        self._left_out: dict[str, bytes] = {}
        self._clock = clock

    def put(self, event_id: str) -> None:
        self.added += 1
        self.times[event_id] = self._clock.now()
        self._left_out.pop(event_id, None)

    def seen(self, source: str, event_id: str, *, options: bytes = b"") -> bool:
        self.asked.append(event_id)
        return event_id in self.times and self._left_out.get(event_id, options) == options

    def remember(self, source: str, event_ids: Collection[str], *, options: bytes = b"") -> None:
        if self.error is not None:
            raise self.error
        for event_id in event_ids:
            self.put(event_id)
            if options:
                self._left_out[event_id] = options

    def touch(self, source: str, event_ids: Collection[str]) -> int:
        self.batches.append(len(event_ids))
        known = [one for one in event_ids if one in self.times]
        self.times.update(dict.fromkeys(known, self._clock.now()))
        return len(known)

    def forget(self, source: str, before: float) -> int:
        self.forgotten += 1
        old = [one for one, at in self.times.items() if at < before]
        for one in old:
            del self.times[one]
        return len(old)

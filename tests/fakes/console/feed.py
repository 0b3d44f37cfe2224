"""A feed whose records a test adds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from eaves.console.stream import MAX_CATCH_UP, StreamMessage


@dataclass
class FakeFeed:
    """Records are texts with the ids 1, 2, and so on.

    Attributes:
        texts: Texts of the records; None for one that the query doesn't match.
        state: State that a client gets when it connects; empty: none.
        changes: Messages about no record, which the next poll returns.
        limit: Maximum number of records of one poll.
        error: What each method raises; None: nothing.
        polls: Number of calls of `poll`.
        threads: Names of the threads that called.
    """

    texts: list[str | None] = field(default_factory=list)
    state: str = ""
    changes: list[StreamMessage] = field(default_factory=list)
    limit: int = 1_000
    error: Exception | None = None
    polls: int = 0
    threads: set[str] = field(default_factory=set)

    def newest(self) -> int:
        self._enter()
        return len(self.texts)

    def catch_up(self, after: int, until: int) -> Sequence[StreamMessage] | None:
        self._enter()
        if until - after > MAX_CATCH_UP:
            return None
        state = [StreamMessage(data=self.state)] if self.state else []
        return [*state, *self._list(after, until)]

    def poll(self, after: int) -> Sequence[StreamMessage]:
        self._enter()
        self.polls += 1
        changes, self.changes = self.changes, []
        return [*changes, *self._list(after, after + self.limit)]

    def _list(self, after: int, until: int) -> list[StreamMessage]:
        numbered = list(enumerate(self.texts, 1))[after:until]
        return [StreamMessage(data=text, id=seq) for seq, text in numbered if text is not None]

    def _enter(self) -> None:
        self.threads.add(threading.current_thread().name)
        if self.error:
            raise self.error

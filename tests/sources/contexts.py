"""An agent's own context for one source, with a memory and a queue that are plain objects."""

from collections.abc import Callable
from typing import Any

from eaves.base.clock import SYSTEM, Clock
from eaves.events import Event
from eaves.sources.agent.context import AgentContext
from tests.fakes.sources.sent_index import DictIndex


def build_context(
    *, clock: Clock = SYSTEM, store: Callable[[Event], bool] = lambda _: True, **values: Any
) -> AgentContext:
    """A context of the source `cam`.

    Args:
        clock: Time.
        store: Stores an event; False when it was stored before.
        values: Other arguments of `AgentContext`.
    """
    given = {"index": DictIndex(clock), "max_bytes": 20_000_000, "spool_max_bytes": 1_000_000_000, **values}
    return AgentContext("cam", site="test", store=store, clock=clock, **given)

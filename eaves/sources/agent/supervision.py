"""Runs a source in a thread of its own for as long as the process lives, whatever the source raises."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from eaves import logs
from eaves.admin.report import SourceReport
from eaves.base.backoff import Backoff
from eaves.base.clock import SYSTEM, Clock
from eaves.errors import SpoolError
from eaves.events import Event
from eaves.http_client.proxies import Proxies
from eaves.sources.agent.configuration import ConfiguredSource
from eaves.sources.agent.context import SILENT_S, AgentContext
from eaves.sources.context import SentIndex, SourceContext
from eaves.sources.options import FrameOptions
from eaves.sources.retry import explain_refusal

RESTART = Backoff(retry=None, first_s=1.0, cap_s=60.0)
STEADY_S = 300.0
"""Running time of a source, seconds, after which its next restart has the shortest pause again."""
STOP_S = 2.0
"""Maximum time for all parts to stop, seconds. A part that hangs, for example on a network folder, ends with the
process: nothing is acknowledged before it is on disk, and no entry is released before it was delivered."""

_log = logging.getLogger(__name__)


class SupervisedSource:
    """Runs one source in a thread, and restarts it after growing pauses whenever it ends without being asked to.

    When a source raises the SpoolError of a spool that accepts no image, the source counts as paused and not as failed.

    Args:
        run: Captures images until the context says to stop.
        context: The source's interface to its agent. The context's counters continue when the source is restarted.
        clock: Wall clock and monotonic clock.

    Attributes:
        context: The same, with name and counters of the source.
    """

    def __init__(self, run: Callable[[SourceContext], None], context: AgentContext, *, clock: Clock = SYSTEM) -> None:
        self._source = run
        self.context = context
        self._clock = clock
        self._logged: set[object] = set()
        self._thread = threading.Thread(target=self._run, name=f"source-{context.name}", daemon=True)

    def report(self) -> SourceReport:
        """Return the state and the counters of the source, for the agent's report."""
        report = self.context.counters.report(self.context.name)
        hung = f"the source has not responded for {SILENT_S / 60:.0f} minutes"
        return replace(report, state="hung", reason=hung) if self.context.silent else report

    def is_alive(self) -> bool:
        """Return whether the source runs or will be restarted, and isn't hung."""
        return self._thread.is_alive() and not self.context.silent

    def start(self) -> None:
        """Start the thread that runs the source."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for the source to stop; return whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        logs.bind(source=self.context.source)
        failures = 0
        while not self.context.stopping:
            began = self._clock.monotonic()
            try:
                self._source(self.context)
                failure = "the source stopped without an error"
            except SpoolError as error:
                failure = ""
                self.context.report("paused", explain_refusal(error))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the source is started again
                failure = f"{type(error).__name__}: {error}"
                text = "source %s failed; it is started again, and this error is not logged again"
                logs.log_once(_log, self._logged, error, text, self.context.name)
            if self.context.stopping:
                return
            failures = 1 if self._clock.monotonic() - began >= STEADY_S else failures + 1
            if failure:
                self.context.counters.fail(failure)
            self.context.wait(RESTART.pause_s(failures))
            self.context.counters.fail("")


def build_source(
    configured: ConfiguredSource,
    *,
    site: str,
    index: SentIndex,
    store: Callable[[Event], bool],
    proxies: Proxies,
    options: FrameOptions | None = None,
    **given: Any,
) -> SupervisedSource:
    """Build a source with its context, which gets `given` too; `options` take the place of the source's own."""
    common = configured.common
    context = AgentContext(
        common.name,
        site=site,
        index=index,
        store=store,
        max_bytes=common.max_bytes,
        credentials=common.credentials,
        proxies=proxies,
        options=options or configured.options,
        **given,
    )
    return SupervisedSource(partial(configured.kind.run, configured.settings), context)


def stop_sources(sources: Sequence[SupervisedSource]) -> None:
    """Stop sources in parallel and wait for them, at most `STOP_S` seconds for all."""
    for source in sources:
        source.context.stop()
    deadline = time.monotonic() + STOP_S
    for source in sources:
        if not source.join(max(0.0, deadline - time.monotonic())):
            _log.warning(
                "source %s did not stop within %g s; it is stopped when the process ends",
                source.context.name,
                STOP_S,
                extra={"source": source.context.source},
            )

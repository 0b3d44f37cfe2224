"""Run one operation on many sites, in waves, with limits on parallel sites and on failures.

A site that can't be reached never delays another one: it is reported, and a later `reconcile` updates it. A site that
was reached and refused the operation is a failure. Once there are more failures than `max_failures`, no further site is
started.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

from eaves.errors import CancelledError, EavesError, UnreachableClusterError
from knative.settings import SiteSettings

T = TypeVar("T")
DONE, FAILED, UNREACHABLE, SKIPPED, STOPPED = "done", "failed", "unreachable", "skipped", "stopped"
PARALLEL = 32
GRACE_S = 2.0
"""Maximum seconds that sites in progress get to finish after Ctrl-C.

What was applied by then stays; when the same command is run again, it continues.
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOutcome(Generic[T]):
    """The result of an operation on one site.

    Attributes:
        site: Name of the site.
        state: `done`, `failed`, `unreachable`, `skipped` because too many sites had failed before its turn, or
            `stopped` because Ctrl-C came before the operation ended.
        result: What the operation returned; None unless the state is `done`.
        error: Why the operation failed; None when the state is `done`.
        duration_s: Seconds that the operation took.
    """

    site: str
    state: str
    result: T | None = None
    error: EavesError | None = None
    duration_s: float = 0.0


def run_on_sites(
    sites: Sequence[SiteSettings],
    operation: Callable[[SiteSettings], T],
    *,
    parallel: int = PARALLEL,
    max_failures: int | None = None,
    show: Callable[[SiteOutcome[T]], object] = lambda outcome: None,
    grace_s: float = GRACE_S,
) -> list[SiteOutcome[T]]:
    """Run an operation on every site.

    Ctrl-C starts no other site and gives the sites in progress a short time to end; a second Ctrl-C gives them none.

    Args:
        sites: Sites to run the operation on. A wave starts when the wave before it has ended.
        operation: Function that is called once for each site, in several threads.
        parallel: Maximum number of sites at the same time.
        max_failures: Maximum number of failures; once there are more, no other site is started, and sites in progress
            are finished. None means any number.
        show: Function that gets each outcome as it arrives, in the caller's thread.
        grace_s: Seconds that sites in progress get to end after Ctrl-C.

    Returns:
        One outcome for each site, in the order of `sites`.
    """
    budget, found = _Budget(max_failures), dict[str, SiteOutcome[T]]()
    waves = groupby(sorted(sites, key=lambda site: site.wave), key=lambda site: site.wave)
    running = [_Wave(list(wave), operation, budget) for _, wave in waves]
    try:
        for wave in running:
            for outcome in wave.run(parallel):
                found[outcome.site] = outcome
                show(outcome)
    except KeyboardInterrupt:
        budget.stop()
        for wave in running:
            found |= {outcome.site: outcome for outcome in wave.finish(grace_s)}
    except BaseException:
        budget.stop()
        raise
    return [found.get(site.name) or _stopped(site) for site in sites]


class _Wave(Generic[T]):
    """A group of sites that are updated at the same time.

    Its threads are daemons, so none keeps the process from ending.
    """

    def __init__(self, sites: Sequence[SiteSettings], operation: Callable[[SiteSettings], T], budget: _Budget) -> None:
        self._operation, self._budget = operation, budget
        self._left = len(sites)
        self._todo: queue.SimpleQueue[SiteSettings] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[SiteOutcome[T]] = queue.SimpleQueue()
        self._begun = 0
        for site in sites:
            self._todo.put(site)

    def run(self, parallel: int) -> Iterator[SiteOutcome[T]]:
        """Start the operation on the sites and yield each outcome as it arrives."""
        for number in range(max(1, min(parallel, self._left))):
            self._begun += 1
            threading.Thread(target=self._work, name=f"site-{number}", daemon=True).start()
        while self._left:
            outcome = self._done.get()
            self._left -= 1
            yield outcome

    def finish(self, grace_s: float) -> Iterator[SiteOutcome[T]]:
        """Yield the outcomes that arrive within `grace_s` seconds; used after Ctrl-C."""
        deadline = time.monotonic() + grace_s
        try:
            while self._begun and self._left:
                outcome = self._done.get(timeout=max(0.001, deadline - time.monotonic()))
                self._left -= 1
                yield outcome
        except (queue.Empty, KeyboardInterrupt):
            return

    def _work(self) -> None:
        while True:
            try:
                site = self._todo.get_nowait()
            except queue.Empty:
                return
            self._done.put(_run_one(site, self._operation, self._budget))


def _run_one(site: SiteSettings, operation: Callable[[SiteSettings], T], budget: _Budget) -> SiteOutcome[T]:
    if budget.stopped:
        return _stopped(site)
    if budget.used_up:
        return SiteOutcome(
            site=site.name, state=SKIPPED, error=EavesError("not started, because too many other sites failed")
        )
    start = time.monotonic()
    try:
        result = operation(site)
    except UnreachableClusterError as error:
        return SiteOutcome(site=site.name, state=UNREACHABLE, error=error, duration_s=time.monotonic() - start)
    except EavesError as error:
        budget.spend()
        return SiteOutcome(site=site.name, state=FAILED, error=error, duration_s=time.monotonic() - start)
    except Exception as error:  # noqa: BLE001 - a defect at one site must not hide what became of the others
        _log.exception("site %s", site.name)
        budget.spend()
        fault = EavesError(f"{type(error).__name__}: {error}"[:300])
        return SiteOutcome(site=site.name, state=FAILED, error=fault, duration_s=time.monotonic() - start)
    return SiteOutcome(site=site.name, state=DONE, result=result, duration_s=time.monotonic() - start)


def _stopped(site: SiteSettings) -> SiteOutcome[T]:
    return SiteOutcome(site=site.name, state=STOPPED, error=CancelledError("stopped before it had finished"))


class _Budget:
    """Counter of failed sites with a maximum, which all threads share; it also records whether to stop."""

    def __init__(self, most: int | None) -> None:
        self._lock = threading.Lock()
        self._most, self._spent = most, 0
        self.stopped = False

    def stop(self) -> None:
        """Start no operation on further sites from now on."""
        self.stopped = True

    def spend(self) -> None:
        """Count one failed site."""
        with self._lock:
            self._spent += 1

    @property
    def used_up(self) -> bool:
        """Whether more sites have failed than the operation allows."""
        with self._lock:
            return self._most is not None and self._spent > self._most

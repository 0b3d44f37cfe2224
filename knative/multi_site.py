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
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    done: queue.SimpleQueue[SiteOutcome[T]] = queue.SimpleQueue()
    places, failed, stop = threading.Semaphore(parallel), list[str](), threading.Event()

    def visit(site: SiteSettings) -> None:
        with places:
            if stop.is_set():
                outcome: SiteOutcome[T] = _stopped(site)
            elif max_failures is not None and len(failed) > max_failures:
                error = EavesError("not started, because too many other sites failed")
                outcome = SiteOutcome(site=site.name, state=SKIPPED, error=error)
            else:
                outcome = _run_one(operation, site)
            if outcome.state == FAILED:
                failed.append(site.name)
            done.put(outcome)

    found, waiting = dict[str, SiteOutcome[T]](), 0
    try:
        for _, wave in groupby(sorted(sites, key=lambda site: site.wave), key=lambda site: site.wave):
            for site in wave:  # daemons, so that none keeps the process from ending
                threading.Thread(target=visit, args=[site], name=f"site-{site.name}", daemon=True).start()
                waiting += 1
            while waiting:
                outcome = done.get()
                waiting -= 1
                found[outcome.site] = outcome
                show(outcome)
    except KeyboardInterrupt:
        stop.set()
        deadline = time.monotonic() + grace_s
        with suppress(queue.Empty, KeyboardInterrupt):
            for _ in range(waiting):
                outcome = done.get(timeout=max(0.001, deadline - time.monotonic()))
                found[outcome.site] = outcome
    except BaseException:
        stop.set()
        raise
    return [found.get(site.name) or _stopped(site) for site in sites]


def _run_one(operation: Callable[[SiteSettings], T], site: SiteSettings) -> SiteOutcome[T]:
    start, state = time.monotonic(), FAILED
    fault: EavesError
    try:
        result = operation(site)
        return SiteOutcome(site=site.name, state=DONE, result=result, duration_s=time.monotonic() - start)
    except UnreachableClusterError as error:
        state, fault = UNREACHABLE, error
    except EavesError as error:
        fault = error
    except Exception as error:  # noqa: BLE001 - a defect at one site must not hide what became of the others
        _log.exception("site %s", site.name)
        fault = EavesError(f"{type(error).__name__}: {error}"[:300])
    return SiteOutcome(site=site.name, state=state, error=fault, duration_s=time.monotonic() - start)


def _stopped(site: SiteSettings) -> SiteOutcome[T]:
    return SiteOutcome(site=site.name, state=STOPPED, error=CancelledError("stopped before it had finished"))

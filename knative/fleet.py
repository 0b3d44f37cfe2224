"""One operation on many sites: in waves, so many at a time, and no further than a budget of failures allows.

A site that can't be reached never holds up another: it is reported and left for a later `reconcile`. A site that was
reached and refused is a failure, and counts against the budget.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

from eaves.errors import EavesError, UnreachableClusterError
from knative.settings import SiteSettings

T = TypeVar("T")
DONE, FAILED, UNREACHABLE, SKIPPED = "done", "failed", "unreachable", "skipped"
PARALLEL = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What became of one site.

    Attributes:
        site: Its name.
        state: `done`, `failed`, `unreachable`, or `skipped` because the budget was used up before its turn.
        result: What the operation returned, None unless done.
        error: What went wrong, None when done.
        duration_s: How long it took.
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
    show: Callable[[Outcome[T]], object] = lambda outcome: None,
) -> list[Outcome[T]]:
    """Do one thing at every site.

    Args:
        sites: Where. A wave is begun when the one before is over.
        operation: Called in threads, once for each site.
        parallel: Sites at the same time.
        max_failures: Failures after which no other site is begun; those in work are finished. None: any number.
        show: Told each outcome as it comes, in the caller's thread.

    Returns:
        An outcome for each site, in the order of `sites`.
    """
    budget = _Budget(max_failures)
    found: dict[str, Outcome[T]] = {}
    waves = groupby(sorted(sites, key=lambda site: site.wave), key=lambda site: site.wave)
    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(sites))), thread_name_prefix="site") as pool:
        for _, wave in waves:
            for outcome in _run_wave(pool, list(wave), operation, budget):
                found[outcome.site] = outcome
                show(outcome)
    return [found[site.name] for site in sites]


def _run_wave(
    pool: ThreadPoolExecutor, wave: Sequence[SiteSettings], operation: Callable[[SiteSettings], T], budget: _Budget
) -> Iterator[Outcome[T]]:
    futures = [pool.submit(_run_one, site, operation, budget) for site in wave]
    try:
        for future in as_completed(futures):
            yield future.result()
    except BaseException:  # Ctrl-C: nothing new is begun, what is in work is finished
        for future in futures:
            future.cancel()
        raise


def _run_one(site: SiteSettings, operation: Callable[[SiteSettings], T], budget: _Budget) -> Outcome[T]:
    if budget.used_up:
        return Outcome(site=site.name, state=SKIPPED, error=EavesError("not begun: too many others failed"))
    start = time.monotonic()
    try:
        result = operation(site)
    except UnreachableClusterError as error:
        return Outcome(site=site.name, state=UNREACHABLE, error=error, duration_s=time.monotonic() - start)
    except EavesError as error:
        budget.spend()
        return Outcome(site=site.name, state=FAILED, error=error, duration_s=time.monotonic() - start)
    except Exception as error:  # noqa: BLE001 - a defect at one site must not hide what became of the others
        _log.exception("site %s", site.name)
        budget.spend()
        told = EavesError(f"{type(error).__name__}: {error}"[:300])
        return Outcome(site=site.name, state=FAILED, error=told, duration_s=time.monotonic() - start)
    return Outcome(site=site.name, state=DONE, result=result, duration_s=time.monotonic() - start)


class _Budget:
    """Failures that are allowed; shared by threads."""

    def __init__(self, most: int | None) -> None:
        self._lock = threading.Lock()
        self._most, self._spent = most, 0

    def spend(self) -> None:
        with self._lock:
            self._spent += 1

    @property
    def used_up(self) -> bool:
        with self._lock:
            return self._most is not None and self._spent > self._most

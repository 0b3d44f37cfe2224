"""Stops a training in good order on a signal, and defines its exit codes and what a Job does for each.

A drained node sends SIGTERM and kills the process after `terminationGracePeriodSeconds` (30 by default), which is time
for the current step and a checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from eaves.errors import StoppedError
from trainer.progress import Step, TrainingProgress

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitCode:
    """One exit code of `python -m trainer`.

    Attributes:
        code: Exit code, 0 to 255; codes above 63 are those of sysexits.h.
        meaning: Why the process ended.
        action: Action that a `podFailurePolicy` should take: `FailJob` (no retry), `Ignore` (a retry that doesn't
            count) or `Count` (a retry, up to `backoffLimit`).
    """

    code: int
    meaning: str
    action: str


EXIT_CODES = (
    ExitCode(code=0, meaning="the run is complete, from this training or an earlier one", action=""),
    ExitCode(code=1, meaning="a defect of Eaves or a library", action="Count"),
    ExitCode(code=2, meaning="the command line is not valid", action="FailJob"),
    ExitCode(code=65, meaning="images, event or output can't be used", action="FailJob"),
    ExitCode(code=74, meaning="storage can't be read or written", action="Count"),
    ExitCode(code=75, meaning="the training was stopped after it had written a checkpoint", action="Ignore"),
    ExitCode(code=78, meaning="a setting is not valid, or the weights can't be loaded", action="FailJob"),
    ExitCode(
        code=137, meaning="the process was killed (SIGKILL, out of memory); the last checkpoint is kept", action="Count"
    ),
)
"""Every exit code, in order; docs/reference.md shows this table.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy (actions).
"""


class StopRequest(threading.Event):
    """A request to stop, set by a signal.

    Attributes:
        number: Number of the signal; 0 before it comes.
        at_once: Whether the signal also raises KeyboardInterrupt, since nothing looks at the request for long.
    """

    number: int = 0
    at_once: bool = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield a request, set by the first SIGTERM or SIGINT; a second signal ends the process as by default."""
    stop = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.number = number
        stop.set()
        signal.signal(number, before[number])
        if stop.at_once:
            raise KeyboardInterrupt

    before = {int(number): signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)


class Stoppable:
    """Implementation of TrainingProgress that stops the training at its next step once `stop` is set.

    Args:
        progress: Progress that receives all phases and steps.
        stop: `threading.Event`; once it is set, the next step raises StoppedError.
    """

    def __init__(self, progress: TrainingProgress, stop: threading.Event) -> None:
        self._progress, self._stop = progress, stop

    @contextmanager
    def phase(self, title: str, total: int) -> Iterator[Step]:
        """Enter a phase of `total` steps.

        Raises:
            StoppedError: `stop` is set before the phase or at one of its steps.
        """
        with self._progress.phase(title, total) as inner:

            def step(count: int = 1, note: str = "") -> None:
                inner(count, note)
                self._check(title)

            self._check(title)
            yield step

    @contextmanager
    def at_once(self, title: str) -> Iterator[None]:
        """Enter work without steps that leaves nothing behind, such as an import: a signal ends it in its midst.

        Raises:
            StoppedError: `stop` is set before the work or during it.
        """
        self._check(title)
        stop = self._stop if isinstance(self._stop, StopRequest) else StopRequest()
        stop.at_once = True
        try:
            yield
        except KeyboardInterrupt:
            self._check(title)
            raise
        finally:
            stop.at_once = False

    def _check(self, title: str) -> None:
        if self._stop.is_set():
            raise StoppedError(
                f"the training was stopped during: {title}",
                hint="run the same command again; it continues from the last checkpoint",
            )

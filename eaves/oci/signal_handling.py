"""What Ctrl-C or SIGTERM must not divide: a step that is begun and whose undoing isn't arranged yet."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hold_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block ends, and act then.

    By their handlers: blocking them keeps them from one thread only, and Python runs the handler of a signal that
    another thread got in the main one all the same. Handlers run in the main thread only; elsewhere nothing is held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if held:
            signal.raise_signal(held[0])


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that is removed with all it holds, when the block is interrupted too.

    `tempfile.TemporaryDirectory` leaves it where the interruption comes while it is made or removed.

    Args:
        prefix: How its name begins.
    """
    folder: Path | None = None
    try:
        with hold_signals():
            folder = Path(tempfile.mkdtemp(prefix=prefix))
        yield folder
    finally:
        if folder is not None:
            with hold_signals():
                shutil.rmtree(folder, ignore_errors=True)

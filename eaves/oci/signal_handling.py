"""Delay of Ctrl-C and SIGTERM during steps that must be completed once they have begun."""

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
    """Delay SIGINT and SIGTERM until the block ends.

    The signals' handlers are replaced meanwhile. Blocking the signals would not be enough: that affects one thread, and
    when another thread receives a signal, Python still runs its handler in the main thread. Because handlers run in the
    main thread only, a block in another thread delays nothing.
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
    """Create a temporary folder that is removed with its content at the end, also after an interruption.

    `tempfile.TemporaryDirectory` leaves the folder behind when the interruption arrives while it is made or removed.

    Args:
        prefix: Prefix of the folder's name.
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

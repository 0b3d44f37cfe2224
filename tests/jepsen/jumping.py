"""Runs a module under a wall clock that a test sets, as a time server or a flat battery does.

    python -P -m tests.jepsen.jumping FILE MODULE ARGUMENT...

FILE holds the seconds that the clock is ahead, negative when it is behind. The standard library's `time.time` is
replaced in this process before the module is imported; the module runs as it is.
"""

import runpy
import sys
import time
from pathlib import Path


class JumpingClock:
    """The wall clock, ahead by what a file holds.

    Args:
        path: The file; it is read again when it was changed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._read_at = -1
        self._ahead_s = 0.0
        self._now = time.time

    def time(self) -> float:
        """Unix seconds."""
        changed_at = Path(self._path).stat().st_mtime_ns
        if changed_at != self._read_at:
            with Path(self._path).open(encoding="ascii") as stream:
                self._ahead_s = float(stream.read() or 0)
            self._read_at = changed_at
        return max(0.0, self._now() + self._ahead_s)


def main() -> None:
    """Replace the clock and run the module as `python -m` does."""
    path, module = sys.argv[1], sys.argv[2]
    sys.argv = sys.argv[2:]
    time.time = JumpingClock(path).time
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

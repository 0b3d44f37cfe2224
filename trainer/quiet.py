"""TensorFlow's C++ notices, kept off the terminal: they tell a person nothing, and no setting silences them all."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)


@contextmanager
def native_stderr() -> Iterator[None]:
    """Catch what native code writes to file descriptor 2: logged at DEBUG, or shown after all when the block fails.

    Around imports and the first use of a device, where TensorFlow writes before it reads TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.write(2, _written(caught.fileno()))
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
        for line in _written(caught.fileno()).decode(errors="replace").splitlines():
            _log.debug("%s", line)


def quieten() -> None:
    """Show only warnings of the libraries whose INFO tells a person nothing; for entry points."""
    for library in ("tensorflow", "absl"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _written(descriptor: int) -> bytes:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, size, 0)

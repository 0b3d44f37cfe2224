"""Keeps notices of TensorFlow and Keras off the terminal; they don't help people, and no setting stops them."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from eaves.errors import EavesError

_log = logging.getLogger(__name__)


@contextmanager
def native_stderr() -> Iterator[None]:
    """Catch what native code and Python warnings write to stderr (file descriptor 2), and log it at DEBUG.

    If the block fails with an error that is not an EavesError, the caught text is written to stderr instead. It is used
    around imports, the first use of a device and the loading of weights:
    TensorFlow writes before it reads TF_CPP_MIN_LOG_LEVEL, and Keras warns of every layer whose weights don't fit.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except EavesError:
            sys.stderr.flush()
            _log_lines(caught.fileno())
            raise
        except BaseException:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.write(2, _written(caught.fileno()))
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
        _log_lines(caught.fileno())


def quiet_libraries() -> None:
    """Log only warnings of TensorFlow and absl, because their INFO messages don't help; entry points call it."""
    for library in ("tensorflow", "absl"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _log_lines(descriptor: int) -> None:
    for line in _written(descriptor).decode(errors="replace").splitlines():
        _log.debug("%s", line)


def _written(descriptor: int) -> bytes:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, size, 0)

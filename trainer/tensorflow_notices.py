"""Keeps notices of TensorFlow and Keras off the terminal; they don't help people, and no setting stops them."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from eaves.errors import EavesError


@contextmanager
def native_stderr() -> Iterator[None]:
    """Catch what native code and Python warnings write to stderr (file descriptor 2).

    It is shown only if the block fails with an error that is not an EavesError. Imports, the first use of a device and
    the loading of weights need this: TensorFlow writes before it reads TF_CPP_MIN_LOG_LEVEL, and Keras warns of every
    layer whose weights don't fit.
    """
    sys.stderr.flush()
    kept, shown = os.dup(2), b""
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException as error:
            sys.stderr.flush()
            if not isinstance(error, EavesError):
                shown = os.pread(caught.fileno(), os.lseek(caught.fileno(), 0, os.SEEK_END), 0)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            os.write(2, shown)


def quiet_libraries() -> None:
    """Log only warnings of TensorFlow and absl, because their INFO messages don't help; entry points call it."""
    for library in ("tensorflow", "absl"):
        logging.getLogger(library).setLevel(logging.WARNING)

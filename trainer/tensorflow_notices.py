"""Prepares a process for TensorFlow and Keras, and keeps their notices off the terminal, which no setting stops."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from eaves.errors import EavesError
from eaves.resource_limits import count_usable_cpus

ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""Environment variables of every training process; `build_environment` adds those that depend on the machine."""
GARBAGE_OBJECTS = 200_000
"""Number of new objects after which Python looks for garbage; its default is 700."""


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


def prepare_tensorflow() -> None:
    """Set what TensorFlow reads at its import, unless it is set, and log only warnings; entry points call it.

    Python looks for garbage less often. The import makes 400,000 objects that stay, and looking through them again
    and again takes a tenth of its time.
    """
    gc.set_threshold(GARBAGE_OBJECTS)
    for variable, value in build_environment().items():
        os.environ.setdefault(variable, value)
    for library in ("tensorflow", "absl"):
        logging.getLogger(library).setLevel(logging.WARNING)


def import_tensorflow() -> None:
    """Import TensorFlow without scikit-learn, for which Keras has wrappers that nothing here uses.

    Where it is installed, as for the demo, its import is a fifth of TensorFlow's time.
    """
    if "sklearn" in sys.modules:
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # an import of it fails then
    try:
        import tensorflow  # noqa: F401
    finally:
        del sys.modules["sklearn"]


def build_environment() -> dict[str, str]:
    """Return the variables that the entry point of a training process sets before it imports TensorFlow.

    They give TensorFlow's thread pools one thread per usable CPU. By default it counts the CPUs that the process may
    run on: in a pod with a limit of 2 CPUs on a node with 64, the kernel would throttle 64 threads.

    Source: tensorflow/core/common_runtime/process_util.cc, NumIntraOpThreadsFromEnvironment.
    """
    cpus = str(count_usable_cpus())
    return ENVIRONMENT | {"TF_NUM_INTRAOP_THREADS": cpus, "TF_NUM_INTEROP_THREADS": cpus}

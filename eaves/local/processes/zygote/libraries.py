"""The modules that the zygote imports for all replicas, and whether their files have changed since."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

MODULES = (
    *("numpy", "eaves.onnxruntime", "eaves.options", "eaves.logs", "eaves.cloudevents_sdk", "concurrent.futures"),
    *("PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin"),
    *(
        "functions.model.model_loading",
        "functions.model.image_tasks",
        "functions.process_usage",
        "eaves.resource_limits",
    ),
    *("functions.http.function_app", "functions.http.server", "functions.http.app"),
)
"""Modules that a function imports until its first prediction, except its main module and the artifact's handler. A
module that is missing here costs only time, and python -X importtime names it."""

Files = Mapping[str, tuple[int, int, int]]
"""Modification time in ns, size and inode number of files, by path."""


def import_modules() -> None:
    """Import everything that a replica needs and that doesn't depend on its settings."""
    for name in MODULES:
        importlib.import_module(name)


def list_files() -> Files:
    """Return the files of all imported modules."""
    names = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return {name: _identify(name) for name in sorted(filter(None, names))}


def find_changed(files: Files) -> str:
    """Return the first file that was changed, replaced or deleted; empty when none was.

    This takes 1.5 ms for 480 files.
    """
    return next((name for name, before in files.items() if _identify(name) != before), "")


def _identify(name: str) -> tuple[int, int, int]:
    try:
        found = Path(name).stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino

"""Runs benchmarks from the command line: `python -m bench [NAME ...]`.

Without a name it runs all benchmarks except those in `ON_REQUEST`.
"""

from __future__ import annotations

import importlib
import sys

MODULES = {
    "cli": "cli",
    "spool": "spool",
    "send": "send",
    "training": "model.training",
    "architectures": "model.architectures",
    "conversion": "model.conversion",
    "function_start": "function.start",
    "function_container": "function.container",
    "function_warm": "function.warm",
    "function_frames": "function.frames",
    "package": "package",
    "sites": "sites",
    "function_peers": "function.others",
    "function": "function.page",
    "int8_gate": "model.int8_gate",
}
"""Name of each benchmark, as given on the command line, and the module below `bench` that contains it."""
ON_REQUEST = ("function_peers", "function", "int8_gate")
"""Names of the benchmarks that run only when they are named. One installs other servers, one writes a page of the
documentation, and one computes a table that is the same on every machine."""

if __name__ == "__main__":
    for name in sys.argv[1:] or [name for name in MODULES if name not in ON_REQUEST]:
        if name not in MODULES:
            sys.exit(f"error: there is no benchmark {name!r}\ntry: one of {', '.join(MODULES)}")
        importlib.import_module(f"bench.{MODULES[name]}").main()

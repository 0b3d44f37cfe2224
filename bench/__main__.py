"""`python -m bench [NAME ...]`."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    *("cli", "spool", "send", "training", "architectures", "conversion"),
    *("function_start", "function_warm", "function_frames", "package", "sites"),
)
ON_REQUEST = ("function_peers", "function", "int8_gate")
"""These install other people's servers, write a page, or compute a table of the docs that no machine changes."""

if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES + ON_REQUEST:
            sys.exit(f"error: no benchmark {name!r}\ntry: one of {', '.join(NAMES + ON_REQUEST)}")
        importlib.import_module(f"bench.{name}").main()

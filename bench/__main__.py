"""`python -m bench [NAME ...]`."""

from __future__ import annotations

import importlib
import sys

NAMES = ("cli", "spool", "send", "training", "architectures", "conversion", "package")

if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            sys.exit(f"error: no benchmark {name!r}\ntry: one of {', '.join(NAMES)}")
        importlib.import_module(f"bench.{name}").main()

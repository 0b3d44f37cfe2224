"""Runs `eaves up` with functions that do no work (`bench/local/function.py`): `python -m bench.local.up PORT STATE`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from bench.function.process import ROOT
from eaves import logs
from eaves.local.processes.process import Process
from eaves.local.state import StateDirectory
from eaves.local.supervisor import Supervisor


def launch(module: str, environ: Mapping[str, str], log: Path, *, inherit: Mapping[str, str]) -> Process:
    """Start a process of the platform; a function is replaced with `bench.local.function`, which does no work."""
    chosen = "bench.local.function" if module == "functions" else module
    return Process(chosen, {"PYTHONPATH": str(ROOT), **environ}, log, inherit=inherit)


def main() -> None:
    """Run the platform until SIGTERM."""
    logs.configure()
    supervisor = Supervisor(
        StateDirectory(root=Path(sys.argv[2])), environ=os.environ, port=int(sys.argv[1]), launch=launch
    )
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=supervisor.stop).start())
    supervisor.run()


if __name__ == "__main__":
    main()

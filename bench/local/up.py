"""Runs `eaves up` with functions that do no work: `python -m bench.local.up PORT STATE`, see `--help`."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.function.process import ROOT
from eaves import logs
from eaves.local.processes.process import Child, Process
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.local.supervisor import Supervisor


def main() -> None:
    """Run the platform until SIGTERM."""
    logs.configure()
    given = parse_arguments()

    def launch(
        module: str,
        environ: Mapping[str, str],
        log: Path,
        *,
        inherit: Mapping[str, str],
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> Child:
        chosen = given.function if module == "functions" else module
        own = {"PYTHONPATH": str(ROOT), **environ}
        return Process(chosen, own, log, inherit=inherit, arguments=arguments, pass_fds=pass_fds)

    supervisor = Supervisor(
        StateDirectory(root=given.state),
        environ=os.environ,
        port=given.port,
        launch=launch,
        settings=LocalSettings(console=given.console is not None, console_port=given.console or 0),
    )
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=supervisor.stop).start())
    supervisor.run()


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command."""
    parser = argparse.ArgumentParser(prog="bench.local.up")
    parser.add_argument("port", type=int, help="port of the broker")
    parser.add_argument("state", type=Path, help="state directory")
    parser.add_argument("--function", default="bench.local.function", help="module that serves the functions")
    parser.add_argument("--console", type=int, help="port of the console; without it there is none")
    return parser.parse_args()


if __name__ == "__main__":
    main()

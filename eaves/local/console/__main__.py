"""The console's process, which `eaves up` starts when somebody looks.

It is `python -P -m eaves.local.console LISTENER STATE PROJECT SETTINGS`: the number of the listening socket, which it
inherits, the platform's state directory, the directory in which `eaves up` was started, and its settings as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

from eaves import logs
from eaves.config import SettingsLayer, build
from eaves.console.app import ConsoleServer, create_app
from eaves.console.backend import ConsoleContext, ConsoleSettings
from eaves.console.security.exposure import SecuritySettings
from eaves.local.console.backend import LocalBackend
from eaves.local.settings import LocalSettings
from eaves.local.state import StateDirectory
from eaves.options import report_errors
from eaves.resource_limits import return_freed_memory

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
IDLE_S = 600.0
"""Time without a request after which the process ends, seconds: a person who comes back after a break finds the pages
at once, and a night doesn't cost memory."""
CHECK_S = 1.0
"""Interval at which the process checks whether anybody still looks, seconds."""
NICENESS = 5
"""Niceness of the process: predictions come before pages."""
OOM_SCORE = 500
"""Adjustment of the kernel's score by which it chooses a process to end when memory is short: the console before the
platform and its functions. Source: proc_pid_oom_score_adj(5)."""


def main() -> None:
    """Serve the console until nobody looks for some time, or until a signal comes."""
    # As in an agent, the signals stay pending until `sigtimedwait` takes one, so no handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    return_freed_memory()
    logs.configure()
    give_way()
    number, root, project, values = sys.argv[1:]
    settings = build(LocalSettings, SettingsLayer(origin="eaves up", values=json.loads(values)))
    state = StateDirectory(root=Path(root))
    backend = LocalBackend(state, Path(project), thumbnails_max_bytes=settings.console_thumbnails_max_bytes)
    pages = ConsoleSettings(read_only=settings.console_read_only, silent_after_s=settings.console_silent_after_s)
    security = SecuritySettings(
        host=settings.console_host,
        credentials=settings.console_credentials,
        state=state.root,
        session_s=settings.console_session_hours * 3_600,
    )
    app = create_app(ConsoleContext(backend=backend, settings=pages, security=security))
    server = ConsoleServer(app, listening=socket.socket(fileno=int(number)), tls=security.build_tls())
    try:
        wait(server)
    finally:
        server.stop()
        backend.close()


def wait(server: ConsoleServer) -> None:
    """Return when a signal has come, nobody has looked for `IDLE_S`, or the server doesn't listen any more."""
    while server.is_alive():
        if signal.sigtimedwait(STOP_SIGNALS, CHECK_S) is not None:
            return
        if server.idle_s() >= IDLE_S:
            return


def give_way() -> None:
    """Make the kernel prefer the platform's other processes for CPU time and memory."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")


if __name__ == "__main__":
    report_errors(main)

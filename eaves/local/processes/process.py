"""One child process of the platform: started as a container would be, watched, stopped in order."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from eaves.base.telemetry import TELEMETRY_OFF
from eaves.http_client import proxies, trust

STOP_S = 10.0
"""Seconds a process has to finish what it accepted before it is killed."""
INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
    *(*proxies.VARIABLES, *trust.VARIABLES),
)
"""What a child sees of our environment: where programs and temporary files are, the time zone, which kernels the CPU
can run, and which proxies and certificate authorities lead out of this network (a function fetches datarefs through
them). The rest comes from its spec, as in a container."""


class Child(Protocol):
    """A child process, running or ended."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while running."""

    def terminate(self) -> None:
        """Ask it to finish."""

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """Ask it to finish, and kill it when it takes longer than `timeout_s` seconds."""


class Launch(Protocol):
    """Starts a child process; `Process` is the one that does."""

    def __call__(self, module: str, environ: Mapping[str, str], log: Path, *, inherit: Mapping[str, str]) -> Child:
        """Start `python -P -m MODULE` with an environment and a log; see `Process` for the arguments."""


class Process:
    """A running child; its output goes to a log file.

    Args:
        module: Started as `python -P -m MODULE`.
        environ: Its whole configuration, as a container gets it.
        log: Appended to.
        inherit: The environment to take `INHERITED` from.
        arguments: After the module's name.
    """

    def __init__(
        self,
        module: str,
        environ: Mapping[str, str],
        log: Path,
        *,
        inherit: Mapping[str, str],
        arguments: Sequence[str] = (),
    ) -> None:
        kept = {name: inherit[name] for name in INHERITED if name in inherit}
        log.parent.mkdir(mode=0o700, exist_ok=True)
        with log.open("ab") as stream:
            self._child = subprocess.Popen(
                [*_die_with_parent(), sys.executable, "-P", "-m", module, *arguments],
                env={**TELEMETRY_OFF, **kept, **environ},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops its children in order
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while running."""
        return self._child.poll()

    def terminate(self) -> None:
        """Ask it to finish."""
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """Ask it to finish, and kill it when it takes too long."""
        self.terminate()
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def _die_with_parent() -> list[str]:
    """A command prefix that has the kernel end the child with the supervisor, however that dies.

    So no orphan keeps a port or a model in memory. The kernel watches the thread that started the child: that must be
    one that stays.

    Source: prctl(2), PR_SET_PDEATHSIG; setpriv(1) of util-linux, which every Debian has.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []

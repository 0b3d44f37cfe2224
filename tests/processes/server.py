"""A server of others as a process on loopback: started, ended, started again, and made deaf by a signal."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, Signals

from tests.ports import find_port, is_listening
from tests.waiting import wait_until


class ServerProcess:
    """One server. It is the caller's to start and to end.

    Args:
        log: File that its output is appended to.

    Attributes:
        port: Its TCP port, the same after each start.
    """

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.port, self.log = find_port(), log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        wait_until(self._listens, what=command[0])

    def stop(self, number: Signals = SIGKILL) -> None:
        """End it, a stopped one too."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def signal(self, number: Signals) -> None:
        """Send it a signal: SIGSTOP makes it deaf while its port still answers."""
        assert self._process is not None
        self._process.send_signal(number)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        return is_listening(self.port)

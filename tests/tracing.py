"""Child processes as an outsider sees them: the files they leave under HOME and the addresses they connect to."""

import ipaddress
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import eaves
from tests.processes.commands import run_command
from tests.waiting import wait_until

_ADDRESS = re.compile(r'sa_family=AF_INET6?\b.*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One run of a command by a user whose home folder is empty, outside any CI.

    Nothing of the environment of the tests is passed on but PATH: onnxruntime reports nothing where it finds CI,
    GITHUB_ACTIONS, GITLAB_CI, TF_BUILD or another variable of that kind, so a CI would hide what users see.

    Attributes:
        folder: Empty directory of this trace; it gets the home folder and the log of system calls.
        variables: Environment variables that the command gets besides PATH, HOME and PYTHONPATH.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The home folder of the command."""
        return self.folder / "home"

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of the command."""
        self.home.mkdir(parents=True, exist_ok=True)
        ours = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(Path(eaves.__file__).parents[1])}
        return ours | self.variables

    @property
    def prefix(self) -> list[str]:
        """What stands before the command, so that its network calls are logged; nothing where strace can't run.

        The tracer is a grandchild (-D): the process that is started is the command itself and gets our signals.
        """
        return ["strace", "-D", "-f", "-e", "trace=network", "-o", str(self._log)] if can_trace() else []

    def run(self, command: Sequence[str | Path], *, timeout_s: float = 100.0) -> str:
        """Run a command to its end; it must succeed.

        Args:
            command: Its words.
            timeout_s: Seconds that it may take.

        Returns:
            What it wrote to stdout.
        """
        done = run_command(
            [*self.prefix, *command], env=self.environ, cwd=self.folder, stdin=subprocess.DEVNULL, timeout=timeout_s
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def files(self) -> list[str]:
        """Paths of the files in the home folder, relative to it."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if not path.is_dir())

    def addresses(self) -> set[str]:
        """Addresses beyond this machine that the command and its children sent to or connected to.

        The command must have ended. Empty where strace can't run.
        """
        if not can_trace():
            return set()
        lines = wait_until(self._ended, what="the end of the trace")
        calls = [line for line in lines if re.search(r"\b(connect|sendto|sendmsg|sendmmsg)\(", line)]
        return {
            found for line in calls for found in _ADDRESS.findall(line) if not ipaddress.ip_address(found).is_loopback
        }

    @property
    def _log(self) -> Path:
        return self.folder / "strace.log"

    def _ended(self) -> list[str]:
        """The lines of the log, once the tracer has seen every process end that it saw; else none."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        seen = {line.split()[0] for line in lines}
        ended = {line.split()[0] for line in lines if "+++ " in line}
        return lines if seen and seen == ended else []


@cache
def can_trace() -> bool:
    """Whether strace is installed and allowed to trace: some containers forbid it."""
    command = ["strace", "-D", "-f", "-o", os.devnull, "true"]
    return shutil.which("strace") is not None and subprocess.run(command, check=False).returncode == 0


def count_threads(pid: int) -> int:
    """Number of threads of a running process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))

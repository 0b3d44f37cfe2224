"""SIGKILL before a chosen system call of a client, by strace's fault injection.

Source: strace(1), --inject: the signal is delivered on entering the call, which is not made.
"""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.jepsen import clients

ROOT = Path(__file__).parents[2]
CHANGING = ("openat", "pwrite64", "write", "ftruncate", "fdatasync", "fsync", "rename", "unlink", "flock", "close")
"""System calls that change a file, its name, a lock, or what of it is on disk. Between two of them a kill leaves the
same files."""
Kill = tuple[str, int]
"""A system call, and which one of this name it is, from 1."""


class Forks:
    """The process that forks clients."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, function: str, argument: dict[str, Any], strace: Sequence[str] = ()) -> int:
        """Run one of `tests.jepsen.clients` to its end.

        Args:
            function: Its name.
            argument: Its argument.
            strace: Options of strace; without any it runs alone.

        Returns:
            Its exit code; the negative number of the signal that killed it.
        """
        pid = self._ask(json.dumps({"module": clients.__name__, "function": function, "argument": argument}))
        if not strace:
            return self._ask("go")
        command = ["strace", *strace, "-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as tracer:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            assert "attached" in line, line
            code = self._ask("go")
            tracer.communicate(timeout=60)
        return code

    def list_kills(self, function: str, argument: dict[str, Any], log: Path) -> list[Kill]:
        """Run a client to its end; returns every kill that `kill_before` can make of it."""
        assert self.run(function, argument, ["-e", f"trace={','.join(CHANGING)}", "-o", str(log)]) == 0
        calls = Counter(re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE))
        return [(call, number) for call, most in sorted(calls.items()) for number in range(1, most + 1)]

    def kill_before(self, kill: Kill, function: str, argument: dict[str, Any]) -> bool:
        """Run a client that is killed; False when it ended before that."""
        call, number = kill
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}", "-o", "/dev/null"]
        code = self.run(function, argument, inject)
        assert code in {0, -signal.SIGKILL}, f"the client ended with {code}"
        return code != 0

    def fail_calls(self, kill: Kill, most: int, error: str, function: str, argument: dict[str, Any]) -> None:
        """Run a client some of whose calls fail.

        Args:
            kill: The first call that fails.
            most: How many calls of this name fail one after the other.
            error: How, as errno(3) names it.
            function: Function as `run` takes it.
            argument: Argument as `run` takes it.
        """
        call, number = kill
        inject = f"inject={call}:error={error}:when={number}..{number + most - 1}"
        assert self.run(function, argument, ["-e", f"trace={call}", "-e", inject, "-o", "/dev/null"]) == 0

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def forking() -> Iterator[Forks]:
    """Start the process that forks clients; end it at the end."""
    command = [sys.executable, "-P", "-m", "tests.jepsen.forking"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT
    ) as process:
        try:
            yield Forks(process)
        finally:
            process.kill()

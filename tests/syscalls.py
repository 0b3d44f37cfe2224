"""Python code in a child process and what it asks the kernel for, in order."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CALL = re.compile(r"^\d+ +(?P<name>[a-z]+)\w*\((?P<arguments>.*)\) += 0")


@cache
def can_trace() -> bool:
    """Whether strace is installed and allowed to trace: some containers forbid it."""
    command = ["strace", "-o", os.devnull, "true"]
    return shutil.which("strace") is not None and subprocess.run(command, check=False).returncode == 0


needs_strace = pytest.mark.skipif(not can_trace(), reason="needs strace (Debian: apt install strace)")


def trace(code: str, argument: Path, calls: str) -> list[tuple[str, str]]:
    """Run Python code and return the system calls that it made.

    Args:
        code: The program; `argument` is its first argument.
        argument: A path; only calls that name it or one below it are returned, and those that name no path.
        calls: Names of the system calls, with commas in between.

    Returns:
        Name, without what makes it a variant (`at`, `at2`), and arguments of each call that succeeded.
    """
    log = argument.parent / "strace.log"
    command = ["strace", "-f", "-y", "-e", f"trace={calls}", "-o", str(log), sys.executable, "-P", "-c", code]
    subprocess.run([*command, str(argument)], check=True, timeout=60, env={"PYTHONPATH": str(ROOT)})
    found = [CALL.match(line) for line in log.read_text().splitlines()]
    made = [(re.sub("at2?$", "", call["name"]), call["arguments"]) for call in found if call]
    return [(name, arguments) for name, arguments in made if str(argument) in arguments or name in {"umask", "listen"}]

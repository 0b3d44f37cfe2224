"""Commands that run to their end."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_command(
    command: Sequence[str | Path], *, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command whose output is text; if `check` is set, its exit code must be 0."""
    return subprocess.run(command, capture_output=True, text=True, check=check, **options)


def run_code(code: str, *, check: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return run_command([sys.executable, "-P", "-c", code], check=check, **options)

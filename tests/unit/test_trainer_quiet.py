"""What native code writes is caught, not lost."""

from __future__ import annotations

import subprocess
import sys

BODY = """
import logging, os, sys
logging.basicConfig(level={level!r}, stream=sys.stdout, format="%(message)s")
from trainer.quiet import native_stderr
with native_stderr():
    os.write(2, b"notice\\n")
    {inside}
sys.stderr.write("after\\n")
"""


def run(level: str, inside: str) -> subprocess.CompletedProcess[str]:
    code = BODY.format(level=level, inside=inside)
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)


def test_notices_go_to_the_debug_log_and_later_output_to_stderr() -> None:
    done = run("DEBUG", "pass")
    assert (done.stdout, done.stderr) == ("notice\n", "after\n")
    assert run("INFO", "pass").stdout == ""


def test_when_the_block_fails_everything_is_shown() -> None:
    done = run("INFO", "raise ValueError('broken')")
    assert done.returncode == 1
    assert done.stderr.startswith("notice\n")
    assert "ValueError: broken" in done.stderr

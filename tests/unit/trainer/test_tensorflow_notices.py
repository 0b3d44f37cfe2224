"""What native code writes is caught, not lost."""

from __future__ import annotations

import subprocess
import sys

BODY = """
import logging, os, sys
logging.basicConfig(level={level!r}, stream=sys.stdout, format="%(message)s")
from trainer.tensorflow_notices import native_stderr
with native_stderr():
    os.write(2, b"notice\\n")
    {inside}
sys.stderr.write("after\\n")
"""


def run(level: str, inside: str) -> subprocess.CompletedProcess[str]:
    code = BODY.format(level=level, inside=inside)
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)


def test_notices_are_not_shown_and_later_output_is() -> None:
    done = run("DEBUG", "pass")
    assert (done.stdout, done.stderr) == ("", "after\n")


def test_when_the_block_fails_everything_is_shown() -> None:
    done = run("INFO", "raise ValueError('broken')")
    assert done.returncode == 1
    assert done.stderr.startswith("notice\n")
    assert "ValueError: broken" in done.stderr


def test_an_error_of_ours_says_what_failed_and_is_shown_alone() -> None:
    inside = """import warnings
    from eaves.errors import ConfigError, Fault
    for layer in range(100):
        warnings.warn(f"layer {layer} has no such weights")
    try:
        raise ConfigError([Fault(origin="training", path="weights", message="can't be loaded")])
    finally:
        sys.stderr.flush()"""
    done = run("INFO", inside)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "notice" not in done.stderr + done.stdout
    assert "no such weights" not in done.stderr + done.stdout

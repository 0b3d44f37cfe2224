"""Asked to stop; what each exit code means; what native code writes is caught, not lost."""

import os
import signal
import subprocess
import threading

import pytest

from eaves import errors
from eaves.errors import StoppedError
from tests.processes.commands import run_code
from trainer.lifecycle import EXIT_CODES, Stoppable, stop_on_signals
from trainer.progress import SilentProgress


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_work_without_steps_at_once_and_says_which_it_was(number: signal.Signals):
    def wait_for_it() -> None:
        os.kill(os.getpid(), number)
        threading.Event().wait(5)
        pytest.fail("went on")

    with stop_on_signals() as stop:
        progress = Stoppable(SilentProgress(), stop)
        with pytest.raises(StoppedError, match="stopped during: the import"), progress.at_once("the import"):
            wait_for_it()
        assert stop.number == number
        with pytest.raises(StoppedError), progress.at_once("another one"):
            pytest.fail("entered")


def test_the_table_holds_every_code_that_training_ends_with():
    raised = (errors.ConfigError, errors.DatasetError, errors.RunError, errors.EventError, errors.StorageError)
    codes = {ending.code: ending for ending in EXIT_CODES}
    assert {error.exit_code for error in (*raised, errors.StoppedError)} <= set(codes)
    assert codes[errors.StoppedError.exit_code].action == "Ignore"
    assert codes[errors.DatasetError.exit_code].action == codes[errors.ConfigError.exit_code].action == "FailJob"


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
    return run_code(code)


def test_notices_are_not_shown_and_later_output_is():
    done = run("DEBUG", "pass")
    assert (done.stdout, done.stderr) == ("", "after\n")


def test_when_the_block_fails_everything_is_shown():
    done = run("INFO", "raise ValueError('broken')")
    assert done.returncode == 1
    assert done.stderr.startswith("notice\n")
    assert "ValueError: broken" in done.stderr


def test_an_error_of_ours_says_what_failed_and_is_shown_alone():
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

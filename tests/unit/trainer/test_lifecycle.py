"""Asked to stop; what each exit code means; whose image it is."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from eaves import errors
from eaves.errors import StoppedError
from trainer.lifecycle import EXIT_CODES, Stoppable, stop_on_signals
from trainer.progress import SilentProgress


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_work_without_steps_at_once_and_says_which_it_was(number: signal.Signals) -> None:
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


def test_the_table_holds_every_code_that_training_ends_with() -> None:
    raised = (errors.ConfigError, errors.DatasetError, errors.RunError, errors.EventError, errors.StorageError)
    codes = {ending.code: ending for ending in EXIT_CODES}
    assert {error.exit_code for error in (*raised, errors.StoppedError)} <= set(codes)
    assert codes[errors.StoppedError.exit_code].action == "Ignore"
    assert codes[errors.DatasetError.exit_code].action == codes[errors.ConfigError.exit_code].action == "FailJob"

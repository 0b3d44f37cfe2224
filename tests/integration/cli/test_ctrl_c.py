"""Ctrl-C in commands whose work begins again: a sentence, the shell's usual exit code, and nothing left behind."""

import os
import signal
import threading
from pathlib import Path

import pytest

from eaves.inference.child_process import run_child
from tests.inputs.parts import write_parts
from tests.integration.cli.live.views import open_view
from tests.waiting import wait_until

CANCELLED = 128 + signal.SIGINT


def test_a_conversion(tmp_path: Path, tiny_run: Path):
    (tmp_path / "eaves.yaml").write_text("data: {path: photos}\n")
    artifacts = tmp_path / "artifacts"
    with open_view(tmp_path, "convert", str(tiny_run)) as view:
        wait_until(lambda: list(artifacts.glob(".*.unfinished/*")), 60, what="its workplace")
        assert view.press_ctrl_c() == CANCELLED
    assert view.stderr.splitlines()[-1] == "error: stopped by Ctrl-C: eaves convert has not finished"
    assert list(artifacts.iterdir()) == []


def test_the_moment_in_which_a_child_gets_its_time_limit(monkeypatch: pytest.MonkeyPatch):
    begin = threading.Timer.start

    def begin_and_press_ctrl_c(timer: threading.Timer) -> None:
        begin(timer)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Timer, "start", begin_and_press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run_child("http.server", {}, timeout_s=60)
    wait_until(
        lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()), 5, what="its end"
    )


def test_a_command_that_reads_its_settings(tmp_path: Path):
    """What no command handles itself, such as the first seconds of a training: here eaves.yaml comes from a pipe."""
    os.mkfifo(tmp_path / "eaves.yaml")
    with open_view(tmp_path, "train") as view:
        writer = wait_until(lambda: open_for_writing(tmp_path / "eaves.yaml"), 60, what="a reader of the pipe")
        assert view.press_ctrl_c() == CANCELLED
        os.close(writer)
    assert view.stderr == "error: stopped by Ctrl-C: eaves train has not finished\n"


def open_for_writing(pipe: Path) -> int:
    """File descriptor of a pipe; 0 while nobody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def test_a_training_that_imports_tensorflow(tmp_path: Path):
    write_parts(tmp_path / "a?token=b", 8, side=32)  # a path that looks like an address with a secret
    (tmp_path / "eaves.yaml").write_text("data: {path: photos}\n")
    with open_view(tmp_path, "train", "--run", "made", "--data", "a?token=b") as view:
        maps = Path(f"/proc/{view.process.pid}/maps")
        wait_until(lambda: "libtensorflow" in maps.read_text(), 60, what="the import")
        assert view.press_ctrl_c() == CANCELLED
    assert view.stderr.splitlines()[-2:] == [
        "error: the training was stopped during: the import of TensorFlow",
        "try: eaves train --run made --data 'a?token=***', with the secrets in place of ***, continues the training",
    ]

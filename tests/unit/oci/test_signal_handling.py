"""Nothing outlives a command that is stopped, at whatever moment that comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_until

ROUNDS = 30
STOPPED = f"""
import os, random, signal, sys, threading
from pathlib import Path
from eaves.oci.layers.subprocesses import run_child
from eaves.oci.signal_handling import scratch_folder

marks, started = Path(sys.argv[1]), random.Random(7)
for number in range({ROUNDS}):
    timer = threading.Timer(started.uniform(0, 0.006), os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with scratch_folder("scratch-") as folder:
            run_child(["/bin/sh", "-c", f"sleep 0.3; touch {{marks}}/{{number}}"], dict(os.environ), 30)
    except KeyboardInterrupt:
        pass
    else:
        print("not interrupted", number)
    timer.join()
print("end", flush=True)
"""
"""Interrupts at random moments of the start; a child that outlives its round leaves a mark."""


def test_no_child_and_no_folder_outlive_an_interruption(tmp_path: Path) -> None:
    marks, temporary = tmp_path / "marks", tmp_path / "temporary"
    marks.mkdir()
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, marks],
        env={"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    last = subprocess.Popen(["/bin/sleep", "0.5"])  # longer than any child that was left
    wait_until(lambda: last.poll() is not None, 30)
    assert list(marks.iterdir()) == []
    assert list(temporary.iterdir()) == []

"""Locks between processes, and the folder in which one process at a time makes something."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eaves.base.locks import locked, take_lock, unfinished_folder
from tests.waiting import is_waited_for, wait_until


def test_a_lock_excludes_others_until_its_file_is_closed(tmp_path: Path):
    handle = take_lock(tmp_path / "lock", wait=False)
    assert handle is not None
    assert take_lock(tmp_path / "lock", wait=False) is None
    os.close(handle)
    with locked(tmp_path / "lock"):
        assert take_lock(tmp_path / "lock", wait=False, shared=True) is None


def test_a_lock_whose_file_is_removed_meanwhile_is_taken_on_the_new_file(tmp_path: Path):
    """Otherwise two would each hold a lock, on two files of one name."""
    path, taken = tmp_path / "lock", list[int | None]()
    with locked(path):
        waiter = threading.Thread(target=lambda: taken.append(take_lock(path, wait=True)))
        waiter.start()
        wait_until(lambda: is_waited_for(path), what="the waiter")
        path.unlink()
    waiter.join()
    assert take_lock(path, wait=False) is None
    os.close(taken[0] or 0)


HOLDER = """
import signal, sys
from pathlib import Path
from eaves.base.locks import unfinished_folder
with unfinished_folder(Path(sys.argv[1]), kept=("checkpoints",)) as place:
    (place / "model").mkdir()
    (place / "model" / "half").write_text("x")
    (place / "checkpoints").mkdir()
    print("here", flush=True)
    signal.pause()
"""


def test_what_a_killed_process_left_is_removed_but_for_what_is_kept(tmp_path: Path):
    target = tmp_path / "run"
    held = subprocess.Popen([sys.executable, "-c", HOLDER, target], stdout=subprocess.PIPE)
    assert held.stdout is not None
    assert held.stdout.readline()
    with pytest.raises(ZeroDivisionError), unfinished_folder(target, refusal=ZeroDivisionError()):
        pass
    assert (tmp_path / ".run.unfinished/model/half").exists()
    held.send_signal(signal.SIGKILL)
    held.communicate()
    with unfinished_folder(target, refusal=ZeroDivisionError(), kept=("checkpoints",)) as place:
        assert [left.name for left in place.iterdir()] == ["checkpoints"]
        (place / "run").mkdir()
        (place / "run").rename(target)
    assert [left.name for left in place.iterdir()] == ["checkpoints"]
    with unfinished_folder(target) as place:
        assert list(place.iterdir()) == []
    assert [left.name for left in tmp_path.iterdir()] == ["run"]

"""The zygote's decisions: when it must not fork, and what makes it outdated."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from eaves.local.processes.zygote import libraries
from eaves.local.processes.zygote.__main__ import find_obstacle
from eaves.local.processes.zygote.inheritance import find_start_variable
from eaves.local.processes.zygote.launcher import MIN_AVAILABLE_BYTES, RESTART, Launcher, read_available_bytes
from eaves.local.processes.zygote.replica_setup import renumber
from tests.fakes.clock import ManualClock


def test_a_changed_replaced_or_deleted_library_is_found(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.py", "b.so", "c.py")]
    for path in paths:
        path.write_text("1")
    files = {str(path): (path.stat().st_mtime_ns, 1, path.stat().st_ino) for path in paths}
    assert libraries.find_changed(files) == ""
    os.utime(paths[0], ns=(1, 1))
    assert libraries.find_changed(files) == str(paths[0])
    files.pop(str(paths[0]))
    (tmp_path / "new").write_text("1")
    (tmp_path / "new").replace(paths[1])
    assert libraries.find_changed(files) == str(paths[1])
    files.pop(str(paths[1]))
    paths[2].unlink()
    assert libraries.find_changed(files) == str(paths[2])


def test_the_files_of_this_package_are_watched() -> None:
    assert libraries.__file__ in libraries.list_files()
    assert libraries.find_changed(libraries.list_files()) == ""


def test_a_process_with_a_second_thread_does_not_fork() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        answer = find_obstacle({})
        assert answer is not None
        assert "threads" in answer.error
        assert not answer.outdated
    finally:
        ended.set()
        thread.join()


def test_a_variable_that_is_read_at_the_start_must_agree() -> None:
    given = {"LANG": "C", "HOME": "/root", "ORT_DISABLE_TELEMETRY": "1"}
    assert find_start_variable(given, {**given, "EAVES_TOP_K": "3", "PORT": "1", "CAMERA": "gate"}) == ""
    assert find_start_variable(given, {**given, "LANG": "de_DE"}) == "LANG"
    assert find_start_variable(given, {**given, "OPENBLAS_NUM_THREADS": "2"}) == "OPENBLAS_NUM_THREADS"
    assert find_start_variable(given, {**given, "OPENSSL_CONF": "/etc/own.cnf"}) == "OPENSSL_CONF"
    assert find_start_variable(given, {"LANG": "C", "HOME": "/root"}) == "ORT_DISABLE_TELEMETRY"


def test_short_memory_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    launcher = Launcher(inherit={}, clock=clock, available=lambda: MIN_AVAILABLE_BYTES - 1)
    for _ in range(3):
        launcher.prepare(deployed=True)
        clock.turn(RESTART.cap_s)
    assert launcher.pid == 0
    assert [record.getMessage() for record in caplog.records] == [
        "functions start without the zygote, which takes longer: less than 200 MB of memory are available"
    ]


def test_available_memory_is_read(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:   2048 kB\n")
    assert read_available_bytes(tmp_path / "meminfo") == 2048 * 1024


def test_files_get_their_numbers_also_when_these_are_in_use() -> None:
    pairs = [os.pipe() for _ in range(2)]
    (first, to_first), (second, to_second) = pairs
    free = os.dup(first)
    os.close(free)  # the number that a copy of a file gets
    os.write(to_first, b"1")
    os.write(to_second, b"2")
    renumber([first, second], [free, first])
    try:
        assert (os.read(free, 1), os.read(first, 1)) == (b"1", b"2")
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(second)
    finally:
        for handle in (first, free, to_first, to_second):
            os.close(handle)

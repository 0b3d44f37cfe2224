"""What a process and its children use."""

import os
import signal
import subprocess
import sys

from eaves.base.process_usage import ProcessUsage, read_usage

WORK = "import time; block = bytearray(50_000_000)\nwhile time.process_time() < 0.3: pass\n"
PARENT = f"""
import subprocess, sys, time
subprocess.run([sys.executable, "-c", {WORK!r}])
child = subprocess.Popen([sys.executable, "-c", {WORK + "print(1, flush=True); time.sleep(60)"!r}])
child.wait()
"""


def test_children_count_with_their_parent_also_after_they_have_ended():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        usage = read_usage(parent.pid)
        assert 0.5 < usage.cpu_s < 10, "two children; the kernel rounds down to 10 ms, user and system time each"
        assert usage.memory_bytes > 55_000_000
        os.killpg(parent.pid, signal.SIGKILL)
    assert read_usage(parent.pid) == ProcessUsage()
    assert read_usage().memory_bytes > 10_000_000

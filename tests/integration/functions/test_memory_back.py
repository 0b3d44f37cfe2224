"""Large bodies leave nothing behind: not in a circle of frames, not in the C library's arenas."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.processes.function import Function
from tests.waiting import wait_until

SIZES, TIMES, SENDERS = (6_000_000, 14_000_000), 32, 6
LEFT_BYTES = 110_000_000
"""What was seen: 12 to 55 MB; 179 to 218 with circles of frames and an arena for each thread."""


def private_bytes(pid: int) -> int:
    """Source: proc_pid_smaps(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what other C libraries keep is theirs")
def test_large_events_that_are_refused_leave_nothing(tiny_artifact: Path, tmp_path: Path) -> None:
    function = Function(tiny_artifact, tmp_path, EAVES_MAX_BODY_BYTES="20000000")
    junk = [os.urandom(size) for size in SIZES]
    named = {"Content_Type": "image/png", "ce_specversion": "1.0", "ce_source": "/s", "ce_type": "t"}

    def send(number: int) -> int:
        return function.request("POST", "/", junk[number % len(SIZES)], **named, ce_id=str(number))[0]

    try:
        function.wait_ready()
        assert function.request("POST", "/", (tiny_artifact / "golden/000.png").read_bytes(), Content_Type="image/png")
        small = function.request("POST", "/", b"junk", **named, ce_id="small")  # what refuses an event is loaded now
        assert small[0] == 422
        resting = private_bytes(function.process.pid)
        with ThreadPoolExecutor(SENDERS) as pool:
            assert set(pool.map(send, range(TIMES))) <= {422, 429}
        wait_until(  # the last bodies are freed after their answers
            lambda: private_bytes(function.process.pid) - resting < LEFT_BYTES, what="memory to be given back"
        )
    finally:
        function.process.kill()
        function.process.wait()

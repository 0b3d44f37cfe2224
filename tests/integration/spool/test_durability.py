"""What is synced to disk when a spool is made, and what its log shrinks to: seen from outside the process."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eaves.events import Event
from eaves.spool import Spool
from eaves.spool.database import WAL_LIMIT_BYTES
from eaves.spool.file import connect

pytestmark = pytest.mark.disk

MAKE = """
import sys
from pathlib import Path
from eaves.events import Event
from eaves.spool import Spool

with Spool(Path(sys.argv[1])) as spool:
    spool.put(Event(id="1", source="/s", type="t", data=b"x"))
    print("put", flush=True)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: nothing tells what is synced")
def test_the_names_of_a_new_spool_and_of_its_folders_are_on_disk_before_a_put_returns(tmp_path: Path):
    path = tmp_path / "a" / "b" / "spool.db"
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,write", "-o", str(trace), sys.executable, "-c", MAKE]
    root = str(Path(__file__).parents[3])
    subprocess.run(
        [*command, str(path)], check=True, capture_output=True, timeout=60, env={"PYTHONPATH": root, "PATH": "/usr/bin"}
    )
    before, _, _ = trace.read_text().partition('"put')
    synced = set(re.findall(r"(?:fsync|fdatasync)\(\d+<([^>]+)>", before))
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= synced
    assert str(path.with_name("spool.db-wal")) in synced


def test_the_log_shrinks_again_after_a_burst(tmp_path: Path):
    """A reader that stays in its transaction keeps SQLite from taking the log over; then it grows, once."""
    path = tmp_path / "spool.db"
    log = path.with_name("spool.db-wal")
    chunk = 8 << 20
    with Spool(path) as spool:
        spool.put(Event(id="0", source="/s", type="t"))
        reader = connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM usage").fetchall()
        for number in range(1, WAL_LIMIT_BYTES // chunk + 3):
            spool.put(Event(id=str(number), source="/s", type="t", data=b"x" * chunk))
        assert log.stat().st_size > WAL_LIMIT_BYTES
        reader.close()
        for number in range(100, 104):
            spool.put(Event(id=str(number), source="/s", type="t"))
        assert log.stat().st_size <= WAL_LIMIT_BYTES

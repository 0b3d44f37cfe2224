"""The file of thumbnails on a full disk, and after kill -9 in the middle of a write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eaves.console.thumbnails.store import ThumbnailStore
from tests.disks import FILL, run_on_disk
from tests.fakes.console.material import captured_event, record_of
from tests.integration.history.processes import PRELUDE, ROOT, kill, read_line, running

KEEP_FOR_EVER = """
store, number = ThumbnailStore(path, max_bytes=2_000_000), int(sys.argv[2])
while True:
    number += 1
    cause = captured_event(number, data=b"x")
    if store.put(record_of(cause, number), bytes(20_000), [record_of(classified_event(cause), number)]):
        say(number)
"""
KEEP_SOME = """
import logging
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
store = ThumbnailStore(path)
kept = [store.put(record_of(captured_event(one, data=b"x"), one), bytes(20_000)) for one in range(100)]
say(f"kept {sum(kept)} listed {len(store.kept(limit=200))}")
pathlib.Path("filler").unlink(missing_ok=True)
if len(sys.argv) < 3:
    store.put(record_of(captured_event(999, data=b"x"), 999), bytes(20_000))
    say(f"listed {len(store.kept(limit=200))}")
"""
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
"""


def test_kill_9_in_the_middle_of_a_write_loses_no_kept_image(tmp_path: Path) -> None:
    path, last = tmp_path / "thumbnails.db", 0
    for lines in (1, 150):
        with running(KEEP_FOR_EVER, path, last) as process:
            for _ in range(lines):
                last = int(read_line(process))
            last = int((kill(process) or [str(last)])[-1])
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with closing(ThumbnailStore(path)) as store:
            kept = store.kept(limit=1_000)
            assert kept[0].seq in (last, last + 1)
            assert all(len(one.predictions) == 1 for one in kept)
            assert [one.seq for one in kept] == list(range(kept[0].seq, kept[-1].seq - 1, -1))
            last = kept[0].seq
    assert 50 < len(kept) < 100
    assert not path.with_name("thumbnails.db.damaged").exists()


@pytest.mark.disk
def test_on_a_full_disk_images_are_not_kept_until_there_is_room(tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PRELUDE}{KEEP_SOME}"
    done = run_on_disk(["-c", script, "thumbnails.db"], tmp_path, size_kb=2_000, before=f"{FILL[:-6]} count=1200; true")
    assert done.returncode == 0, done.stderr
    first, *_ = [line for line in done.stdout.splitlines() if line.startswith("kept")]
    kept, listed = int(first.split()[1]), int(first.split()[3])
    assert 0 < kept == listed < 60
    assert done.stdout.count("can't be written, so images are not kept: database or disk is full") == 1
    assert f"listed {kept + 1}" in done.stdout
    assert "can be written again" in done.stdout


@pytest.mark.disk
def test_on_a_disk_without_any_room_nothing_is_kept(tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PRELUDE}{KEEP_SOME}"
    done = run_on_disk(["-c", script, "thumbnails.db"], tmp_path, size_kb=1_000, before=FILL)
    assert done.returncode == 0, done.stderr
    assert "kept 0 listed 0" in done.stdout
    assert done.stdout.count("images are not kept") == 2, "once for writing, once for reading"
    assert "listed 1" in done.stdout


def test_a_limit_of_the_file_size_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / "thumbnails.db"
    with running(LIMITED + KEEP_SOME, path, "limited") as process:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert output.count("can't be written, so images are not kept") == 1
    kept = int(output.rsplit("kept ", 1)[1].split()[0])
    assert 20 < kept < 60
    with closing(ThumbnailStore(path)) as store:
        assert len(store.kept(limit=200)) == kept
        assert store.put(record_of(captured_event(500, data=b"x"), 500), bytes(20_000))

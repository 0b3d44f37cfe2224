"""The file of a spool: its owner, its version, what is no spool, and the leases on its lanes."""

import stat
from pathlib import Path

import pytest

from eaves.errors import SpoolError
from eaves.spool import Spool
from eaves.spool.database import WAL_LIMIT_BYTES
from eaves.spool.file import connect
from tests.unit.spool.entries import image

# Files


def test_the_folder_is_made_and_the_file_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "a" / "b" / "spool.db"
    with Spool(path) as spool:
        spool.put(image())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_commit_is_synced(spool: Spool):
    db = spool.database()._writer
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert db.execute("PRAGMA journal_size_limit").fetchone()[0] == WAL_LIMIT_BYTES


def test_a_file_that_is_no_spool_is_named_and_left_alone(path: Path):
    path.write_bytes(b"these are notes, not a database" * 50)
    with pytest.raises(SpoolError, match=r"spool\.db: file is not a database") as refused:
        Spool(path)
    assert refused.value.hint is not None
    assert path.read_bytes().startswith(b"these are notes")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 99", "has schema version 99"),
        ("PRAGMA application_id = 7", "belongs to another program"),
    ],
)
def test_another_versions_or_programs_file_is_refused(path: Path, statement: str, message: str):
    Spool(path).close()
    db = connect(path)
    db.execute(statement)
    db.close()
    with pytest.raises(SpoolError, match=message) as refused:
        Spool(path)
    assert refused.value.hint is not None


def test_a_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError, match=r"Not a directory|File exists") as refused:
        Spool(tmp_path / "file" / "spool.db")
    assert refused.value.hint is not None


# Leases


def test_a_lease_has_one_holder(spool: Spool):
    mine, other = spool.lease("trigger/a"), spool.lease("trigger/a")
    assert mine.acquire()
    with spool.lease("trigger/a/b"):
        pass
    assert mine.acquire(), "holding it already is holding it"
    assert not other.acquire()
    assert not other.held
    mine.release()
    mine.release()
    with other:
        assert other.held
        assert not mine.acquire()
    assert not other.held

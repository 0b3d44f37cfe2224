"""The agent's own id, kept beside its spool."""

from __future__ import annotations

from pathlib import Path

import pytest

from eaves.errors import SpoolError
from eaves.sources.agent.configuration import load_agent_id


def test_it_stays_the_same_and_no_other_agent_has_it(tmp_path: Path) -> None:
    first = load_agent_id(tmp_path / "a.db")
    assert len(first) == 8
    assert load_agent_id(tmp_path / "a.db") == first
    assert load_agent_id(tmp_path / "b.db") != first


@pytest.mark.parametrize("content", [b"\xff\xfe", b"0" * 9])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.db.id").write_bytes(content)
    made = load_agent_id(tmp_path / "a.db")
    assert len(made) == 8
    assert load_agent_id(tmp_path / "a.db") == made


def test_a_disk_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match=r"a\.db\.id"):
        load_agent_id(tmp_path / "missing" / "a.db")

"""Outcomes of requests by revision: counted once, with the change of their entry, and kept with the file."""

from pathlib import Path

from eaves.spool import Spool
from eaves.spool.outcomes import MAX_REVISIONS, RevisionOutcomes
from tests.unit.spool.entries import image, run


def test_an_outcome_is_counted_with_the_change_of_its_entry_and_only_then(path: Path):
    with Spool(path) as spool:
        for number in range(3):
            spool.put(image(number))
        first, second, third = spool.peek("out", limit=3)
        for _ in range(2):  # the second time, the entries are gone
            spool.ack(first, puts=[(image(9), ("replies",))], outcome=("f-1", "answered"))
            spool.dead_letter(second, "not an image", 422, outcome=("f-2", "refused"))
        spool.retry(third, 0.0, "answered 500", outcome=("f-2", "failed"))
        spool.retry(third, 0.0, "no answer")
        spool.retry(first, 0.0, "answered 500", outcome=("f-1", "failed"))
        assert spool.depth("replies") == 1
        identity = spool.outcomes()[0]
    with Spool(path) as spool:
        expected = (RevisionOutcomes(revision="f-1", answered=1), RevisionOutcomes(revision="f-2", failed=1, refused=1))
        assert spool.outcomes() == (identity, expected)


def test_a_file_of_an_earlier_version_gets_the_tables_and_another_file_has_another_identity(path: Path):
    with Spool(path) as spool:
        spool.put(image())
        run(spool, "DROP TABLE outcomes")
        run(spool, "DROP TABLE identity")
    with Spool(path) as spool, Spool(path.with_name("other.db")) as other:
        spool.ack(spool.peek("out")[0], outcome=("f-1", "answered"))
        assert spool.outcomes()[1] == (RevisionOutcomes(revision="f-1", answered=1),)
        assert other.outcomes()[1] == ()
        assert len({spool.outcomes()[0], other.outcomes()[0], ""}) == 3


def test_the_revisions_that_were_counted_first_are_dropped(spool: Spool):
    for number in range(MAX_REVISIONS + 2):
        spool.put(image(number))
        spool.ack(spool.peek("out")[0], outcome=(f"f-{number}", "answered"))
    assert {one.revision for one in spool.outcomes()[1]} == {f"f-{number}" for number in range(2, MAX_REVISIONS + 2)}

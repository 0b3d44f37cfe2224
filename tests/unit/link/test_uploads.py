"""Bodies that come in parts."""

import hashlib
import random
from pathlib import Path

import pytest

from eaves.errors import EventError
from eaves.link.uploads import PER_SITE, Uploads
from tests.fakes.clock import ManualClock

BODY = random.Random(1).randbytes(1_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


def add(uploads: Uploads, begin: int, end: int, *, site: str = "north", body: bytes = BODY) -> int:
    digest = hashlib.sha256(body).hexdigest()
    return uploads.append(site, digest, body[begin:end], offset=str(begin), size=str(len(body)))


def test_a_body_is_there_once_all_parts_are_whatever_came_again(tmp_path: Path):
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000)
    assert add(uploads, 0, 0) == 0
    assert add(uploads, 0, 400) == 400
    assert add(uploads, 0, 400) == 400  # its answer was lost
    assert add(uploads, 700, 1_000) == 400  # there is a gap before it
    assert uploads.read("north", DIGEST) is None
    assert add(uploads, 0, 400) == 400
    assert add(uploads, 400, 1_000) == 1_000
    assert uploads.read("north", DIGEST) == BODY
    assert add(Uploads(tmp_path / "parts", max_bytes=1_000), 0, 0) == 1_000


def test_a_site_never_reads_what_another_one_has_sent(tmp_path: Path):
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000)
    add(uploads, 0, 1_000)
    assert uploads.read("south", DIGEST) is None
    assert add(uploads, 0, 0, site="south") == 0


def test_what_is_not_as_its_digest_says_is_sent_again(tmp_path: Path):
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000)
    add(uploads, 0, 1_000)
    path = tmp_path / "parts" / "north" / DIGEST
    path.write_bytes(bytes(1_000))  # a power cut, say
    assert uploads.read("north", DIGEST) is None
    assert add(uploads, 0, 1_000) == 1_000
    path.write_bytes(bytes(2_000))
    assert add(Uploads(tmp_path / "parts", max_bytes=1_000), 0, 0) == 0


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, DIGEST + "\n"])
def test_a_name_that_is_no_digest_is_refused(tmp_path: Path, digest: str):
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000)
    with pytest.raises(EventError):
        uploads.append("north", digest, b"x", offset="0", size="1")
    with pytest.raises(EventError):
        uploads.read("north", digest)


def test_what_is_finished_goes_first_once_the_next_one_comes(tmp_path: Path):
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000)
    add(uploads, 0, 1_000)
    uploads.finish("north", DIGEST)
    assert uploads.read("north", DIGEST) == BODY  # its answer may be lost
    add(uploads, 0, 1, body=b"12")
    assert uploads.read("north", DIGEST) is None


def test_all_sites_together_have_a_bounded_number_of_bytes(tmp_path: Path):
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000)
    for number in range(40):
        add(uploads, 0, 1_000, site=f"site-{number}")
    assert sum(1 for _ in (tmp_path / "parts").glob("*/*")) == 32
    assert uploads.read("site-39", DIGEST) == BODY


def test_an_upload_that_was_given_up_is_deleted_in_the_end(tmp_path: Path):
    clock = ManualClock()
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000, clock=clock)
    add(uploads, 0, 10, body=b"x" * 10)
    clock.turn(6 * 86_400)
    uploads.expire()
    add(uploads, 0, 400)
    clock.turn(2 * 86_400)
    uploads.expire()
    assert list_names(tmp_path) == [DIGEST]
    assert uploads.size("north", DIGEST) == 400


def test_a_site_has_a_bounded_number_of_uploads(tmp_path: Path):
    uploads = Uploads(tmp_path / "parts", max_bytes=1_000)
    bodies = [b"%d" % number for number in range(100)]
    for body in bodies:
        add(uploads, 0, 1, body=body + b"!")
    assert set(list_names(tmp_path)) == {hashlib.sha256(body + b"!").hexdigest() for body in bodies[-PER_SITE:]}
    restarted = Uploads(tmp_path / "parts", max_bytes=1_000)
    add(restarted, 0, 400)
    assert len(list_names(tmp_path)) == PER_SITE


def list_names(place: Path) -> list[str]:
    return [path.name for path in (place / "parts").glob("*/*")]

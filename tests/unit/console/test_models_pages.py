"""The pages of runs, of real directories and of hostile ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext
from tests.fakes.console.backend import FakeBackend
from tests.fakes.models.run import build_photo, write_run

HOSTILE = "<script>alert(1)</script>\"&'"


def open_client(*paths: Path, **named: Path) -> FlaskClient:
    backend = FakeBackend(known_runs={path.name: path for path in paths} | named)
    return create_app(ConsoleContext(backend=backend)).test_client()


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """A console with two runs, whose photos are here."""
    for name in ("first", "second"):
        write_run(tmp_path / "runs" / name, photos=tmp_path / "photos")
    return open_client(tmp_path / "runs/first", tmp_path / "runs/second")


def test_the_list_says_how_good_each_run_is(client: FlaskClient) -> None:
    assert client.get("/models").text.count("60.0% (3 of 5 images, 95% interval 23.0% to 88.3%)") == 2


def test_a_run_shows_figures_its_report_and_the_mistaken_photos(client: FlaskClient, tmp_path: Path) -> None:
    text = client.get("/models/runs/first").text
    assert "This model is weak: 0.60 on 5 held-out images." in text
    assert "report.html" not in text
    (tmp_path / "runs/first/report.html").write_text("<p>curves</p>")
    assert 'href="/models/runs/first/report.html"' in client.get("/models/runs/first").text
    report = client.get("/models/runs/first/report.html")
    assert report.text == "<p>curves</p>"
    assert "default-src 'none'" in report.headers["Content-Security-Policy"]
    assert "sandbox" in report.headers["Content-Security-Policy"]
    assert client.get("/models/runs/second/report.html").status_code == 404
    assert 'aria-label="1 of 3 images of daisy taken for rose"' in text
    assert "2 images that the model gets wrong" in text
    assert text.count("/photos/") == 2
    chosen = client.get("/models/runs/first?truth=0&predicted=1").text
    assert "1 image of daisy that the model takes for rose" in chosen
    assert chosen.count("/photos/") == 1


def test_a_photo_that_changed_or_is_no_held_out_photo_is_not_sent(client: FlaskClient, tmp_path: Path) -> None:
    page = client.get("/models/runs/first").text
    address = next(part.split('"')[0] for part in page.split('src="') if "/photos/" in part.split('"')[0])
    answer = client.get(address)
    assert (answer.status_code, answer.content_type, answer.data[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    for photo in (tmp_path / "photos").glob("*/*.png"):
        photo.write_bytes(build_photo(200))
    assert client.get(address).status_code == 404
    assert client.get("/models/runs/first/photos/" + "0" * 64 + ".jpg").status_code == 404
    assert client.get("/models/runs/first/photos/..%2f..%2fsecret.jpg").status_code == 404


def test_hostile_text_of_another_person_is_escaped(tmp_path: Path) -> None:
    about = {
        "name": HOSTILE,
        "verdict": {"text": HOSTILE, "kind": HOSTILE},
        "hardware": {"cpu": HOSTILE + "\udcff\u202e"},
    }
    answers = [("daisy", "daisy"), ("daisy", HOSTILE)]
    run = write_run(tmp_path / "run", labels=("daisy", HOSTILE), answers=answers, about=about)
    client = open_client(**{HOSTILE.replace("/", ""): run.path})
    link = client.get("/models").text.split('href="/models/runs/')[1].split('"')[0]
    for address in ("/models", f"/models/runs/{unescape(link)}"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert escape(HOSTILE, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in answer.text


WRONG: tuple[object, ...] = (None, 7, "text", [None], {"a": None}, 1e308)
"""Values of the wrong type or size."""
RUN_FIELDS = ("labels", "verdict", "dataset", "created", "hardware", "weights", "recipe")
CONFUSIONS = (*WRONG, [[1, 2], [3]], [[-1] * 3] * 3, [["a"] * 3] * 3)
NO_JSON = ("", "{", "[]", "7", "[" * 100_000)


def with_value(text: str, name: str, value: object) -> str:
    """The text of a JSON file in which one value is replaced."""
    return json.dumps(json.loads(text) | {name: value})


def check_pages(client: FlaskClient, addresses: Sequence[str], case: object) -> None:
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code in (200, 422), (address, case)
        assert answer.status_code == 200 or "can&#39;t be" in answer.text or 'role="alert"' in answer.text, case


@pytest.mark.parametrize(
    ("file", "texts", "fields"),
    [
        ("run.json", NO_JSON, RUN_FIELDS),
        ("metrics.json", NO_JSON, ("confusion",)),
        ("samples.json", NO_JSON, ()),
        ("held_out.jsonl", ("7", "\x00"), ()),
    ],
)
def test_a_damaged_run_gives_a_message_and_no_failure(
    tmp_path: Path, file: str, texts: Sequence[str], fields: Sequence[str]
) -> None:
    run = write_run(tmp_path / "run", photos=tmp_path / "photos")
    client, marker, damaged = open_client(run.path), run.path / "run.json", run.path / file
    good = damaged.read_text()
    for text in (*texts, *(with_value(good, field, value) for field in fields for value in CONFUSIONS)):
        damaged.write_text(text)
        marker.touch()  # a console keeps what it has read, until this file changes
        check_pages(client, ("/models", "/models/runs/run"), text[:400])
    damaged.unlink()
    damaged.symlink_to("/dev/zero")
    if damaged != marker:
        marker.touch()
    check_pages(client, ("/models", "/models/runs/run"), "a device")
    assert client.get("/models/runs/run/photos/" + "0" * 64 + ".jpg").status_code == 404


def test_a_name_that_cannot_be_part_of_an_address_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    client = open_client(run.path, **dict.fromkeys(("\udcff", "\u202e"), run.path))
    assert client.get("/models").text.count('href="/models/runs/') == 1

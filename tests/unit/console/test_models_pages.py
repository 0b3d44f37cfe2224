"""The pages of runs and artifacts, of real directories and of hostile ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext, ModelLocation
from tests.fakes.console.backend import FakeBackend
from tests.fakes.models.artifact import write_colours
from tests.fakes.models.run import build_photo, write_run

HOSTILE = "<script>alert(1)</script>\"&'"


def open_client(*locations: ModelLocation) -> FlaskClient:
    backend = FakeBackend(known_models=list(locations))
    return create_app(ConsoleContext(backend=backend)).test_client()


def run_at(path: Path, name: str = "") -> ModelLocation:
    return ModelLocation(name=name or path.name, kind="run", path=path)


def artifact_at(path: Path, **values: Any) -> ModelLocation:
    return ModelLocation(name=path.name, kind="artifact", path=path, **values)


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """A console with two runs, whose photos are here, and two artifacts."""
    for name in ("first", "second"):
        write_run(tmp_path / "runs" / name, photos=tmp_path / "photos")
        write_colours(tmp_path / name)
    return open_client(
        run_at(tmp_path / "runs/first"),
        run_at(tmp_path / "runs/second"),
        artifact_at(tmp_path / "first", functions=("flowers",)),
        artifact_at(tmp_path / "second", previous_of=("flowers",)),
    )


def test_the_list_says_what_is_served_and_how_good_it_is(client: FlaskClient) -> None:
    text = client.get("/models").text
    assert "serves flowers" in text
    assert "previous deployment" in text
    assert "60.0% (3 of 5 images, 95% interval 23.0% to 88.3%)" in text


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


def test_a_photo_is_sent_as_a_jpeg_that_cannot_run_anything(client: FlaskClient) -> None:
    page = client.get("/models/runs/first").text
    address = next(part.split('"')[0] for part in page.split('src="') if "/photos/" in part.split('"')[0])
    answer = client.get(address)
    assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    assert answer.data.startswith(b"\xff\xd8\xff")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_photo_that_changed_or_is_no_held_out_photo_is_not_sent(client: FlaskClient, tmp_path: Path) -> None:
    page = client.get("/models/runs/first").text
    address = next(part.split('"')[0] for part in page.split('src="') if "/photos/" in part.split('"')[0])
    for photo in (tmp_path / "photos").glob("*/*.png"):
        photo.write_bytes(build_photo(200))
    assert client.get(address).status_code == 404
    assert client.get("/models/runs/first/photos/" + "0" * 64 + ".jpg").status_code == 404
    assert client.get("/models/runs/first/photos/..%2f..%2fsecret.jpg").status_code == 404


def test_a_run_without_its_photos_or_answers_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere")
    write_run(tmp_path / "old", keep_answers=False)
    client = open_client(run_at(tmp_path / "elsewhere"), run_at(tmp_path / "old"))
    elsewhere = client.get("/models/runs/elsewhere").text
    assert "The photos of this run aren't on this machine" in elsewhere
    assert "daisy/2.png" in elsewhere
    assert "This run doesn't keep the answer to each photo." in client.get("/models/runs/old").text


def test_hostile_text_of_another_person_is_escaped(tmp_path: Path) -> None:
    about = {
        "name": HOSTILE,
        "verdict": {"text": HOSTILE, "kind": HOSTILE},
        "hardware": {"cpu": HOSTILE + "\udcff\u202e"},
    }
    answers = [("daisy", "daisy"), ("daisy", HOSTILE)]
    run = write_run(tmp_path / "run", labels=("daisy", HOSTILE), answers=answers, about=about)
    artifact = write_colours(tmp_path / "artifact")
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    manifest |= {"name": HOSTILE, "labels": ["blue", "green", HOSTILE], "toolchain": {HOSTILE: HOSTILE}}
    (artifact.path / "manifest.json").write_text(json.dumps(manifest))
    client = open_client(run_at(run.path, name=HOSTILE.replace("/", "")), artifact_at(artifact.path))
    link = client.get("/models").text.split('href="/models/runs/')[1].split('"')[0]
    for address in ("/models", f"/models/runs/{unescape(link)}"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert escape(HOSTILE, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in answer.text


WRONG: tuple[object, ...] = (None, 7, "text", [None], {"a": None}, 1e308)
"""Values of the wrong type or size."""
RUN_FIELDS = ("labels", "verdict", "dataset", "created", "hardware", "weights", "recipe")
ARTIFACT_FIELDS = ("labels", "files", "parity", "quantisation", "toolchain")
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
    client, marker, damaged = open_client(run_at(run.path)), run.path / "run.json", run.path / file
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


def test_a_damaged_artifact_is_listed_with_its_fault(tmp_path: Path) -> None:
    bad, good = write_colours(tmp_path / "bad").path, write_colours(tmp_path / "good").path
    client, manifest = open_client(artifact_at(bad), artifact_at(good)), bad / "manifest.json"
    usual = manifest.read_text()
    for text in (*NO_JSON, *(with_value(usual, field, value) for field in ARTIFACT_FIELDS for value in WRONG)):
        manifest.write_text(text)
        check_pages(client, ["/models"], text[:40])
    manifest.unlink()
    manifest.symlink_to("/dev/zero")
    check_pages(client, ["/models"], "a device")
    shutil.rmtree(bad)
    text = client.get("/models").text
    assert text.count("badge-failing") == 1
    assert "good" in text


def test_a_name_that_cannot_be_part_of_an_address_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    names = ("a/b", "..", "\udcff", "\u202e")
    client = open_client(*(run_at(run.path, name=name) for name in names), run_at(run.path))
    assert client.get("/models").text.count('href="/models/runs/') == 1

"""The pages of runs, of real directories and of hostile ones."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eaves.artifact.store import gate_file
from eaves.console.app import create_app
from eaves.console.backend import ConsoleContext, JobStatus
from eaves.console.exposure import ConsoleSettings
from eaves.platform import FunctionStatus
from eaves.rollout import RolloutReport
from eaves.rollout.state import RevisionReport
from tests.fakes.console.backend import FakeBackend, FakeJobs
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


def test_the_list_says_how_good_each_run_is(client: FlaskClient):
    assert client.get("/models").text.count("60.0% (3 of 5 held-out images, 95% interval 23.0% to 88.3%)") == 2


def test_a_run_is_worth_what_its_verdict_says(tmp_path: Path):
    """A run that holds out few images is judged by cross-validation."""
    run = write_run(tmp_path / "run", photos=tmp_path / "photos")
    file = run.path / "metrics.json"
    crossed = {"confusion": [[19, 1], [2, 18]], "val_accuracy_interval_95": [0.8, 0.97]}
    file.write_text(with_value(file.read_text(), "cross_validation", crossed))
    wanted = "92.5% (37 of 40 cross-validated images, 95% interval 80.0% to 97.0%)"
    assert wanted in open_client(run.path).get("/models").text


def test_a_run_shows_figures_its_report_and_the_mistaken_photos(client: FlaskClient, tmp_path: Path):
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


def test_a_photo_that_changed_or_is_no_held_out_photo_is_not_sent(client: FlaskClient, tmp_path: Path):
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


def test_hostile_text_of_another_person_is_escaped(tmp_path: Path):
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
):
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


def test_a_name_that_cannot_be_part_of_an_address_is_left_out(tmp_path: Path):
    run = write_run(tmp_path / "run")
    client = open_client(run.path, **dict.fromkeys(("\udcff", "\u202e"), run.path))
    assert client.get("/models").text.count('href="/models/runs/') == 1


class Deployable:
    """A console with one run, its artifact and the gate's answer, which `answer` changes."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        run = write_run(folder / "runs/daisies")
        self.artifact = folder / "artifacts/daisies"
        self.artifact.mkdir(parents=True)
        (self.artifact / "manifest.json").write_text("{}")
        self.digest = hashlib.sha256(b"{}").hexdigest()
        self.jobs = FakeJobs(folder / "review.json")
        self.backend = FakeBackend(known_runs={"daisies": run.path}, jobs=self.jobs)
        settings = ConsoleSettings(read_only=read_only)
        self.client = create_app(ConsoleContext(backend=self.backend, settings=settings)).test_client()

    def answer(self, **about: object) -> None:
        known = {"passed": True, "lines": ["accuracy 0.9"], "function": "flowers", "artifact": self.digest}
        gate_file(self.artifact).write_text(json.dumps({**known, "replaces": [], **about}))

    def page(self) -> str:
        answer = self.client.get("/models/runs/daisies")
        assert answer.status_code == 200
        return answer.text

    def deploy(self) -> TestResponse:
        (token,) = re.findall(r'X-CSRF-Token": "(\w+)"', self.page())
        return self.client.post("/models/runs/daisies/deploy", data={"csrf_token": token})


def test_a_model_that_the_gate_lets_pass_is_deployed_by_one_confirmed_click(tmp_path: Path):
    one = Deployable(tmp_path)
    assert "The gate has not judged" in one.page()
    one.answer()
    assert "<li>Accuracy 0.9.</li>" in one.page()
    assert 'href="/models/runs/daisies/deploy"' in one.page()
    assert "first model of flowers" in one.client.get("/models/runs/daisies/deploy").text
    assert one.client.post("/models/runs/daisies/deploy").status_code == 403
    answer = one.deploy()
    assert (answer.status_code, answer.headers["Location"]) == (303, "/models/runs/daisies#gate")
    assert one.jobs.started == [("deploy", {"artifact": str(one.artifact)})]
    one.jobs.known["deploy"] = JobStatus(state="running", result={"run": "daisies"}, lines=("replaying",))
    assert "The deployment continues." in one.page()
    assert 'href="/models/runs/daisies/deploy"' not in one.page()
    assert one.deploy().status_code == 409
    one.jobs.known["deploy"] = JobStatus(state="failed", result={"run": "daisies"}, fault="it is broken")
    assert "The deployment failed: it is broken" in one.page()
    one.jobs.known["deploy"] = JobStatus(state="failed", result={"run": "other"}, fault="it is broken")
    assert "it is broken" not in one.page()


def test_a_model_that_lacks_evidence_only_is_deployed_as_a_canary_by_one_confirmed_click(tmp_path: Path):
    one, reader = Deployable(tmp_path), Deployable(tmp_path / "other", read_only=True)
    for console in (one, reader):
        console.answer(passed=False, lacks=True, lines=["hold out about 59 images"], replaces=["1" * 64])
        console.backend.functions = [FunctionStatus(name="flowers", state="ready", artifact_digest="1" * 64)]
    assert "Deploy it as a canary all the same…" in one.page()
    asked = one.client.get("/models/runs/daisies/deploy").text
    assert "too few images compare it" in asked
    assert "Hold out about 59 images." in asked
    assert one.jobs.started == []
    assert one.deploy().status_code == 303
    assert one.jobs.started == [("deploy", {"artifact": str(one.artifact)})]
    assert "all the same" not in reader.page()
    assert reader.client.get("/models/runs/daisies/deploy").status_code == 403
    assert reader.deploy().status_code == 403


def test_only_a_model_that_was_compared_with_what_serves_is_deployed(tmp_path: Path):
    one = Deployable(tmp_path)
    for about, serves, word in (
        ({"passed": False}, "", "refused"),
        ({"artifact": "0" * 64}, "", "has not judged"),
        ({}, "1" * 64, "Another model serves flowers now"),
        ({"replaces": ["2" * 64]}, "1" * 64, "Another model serves flowers now"),
        ({"replaces": ["2" * 64]}, one.digest, "It gets every request of"),
        ({"passed": False, "lacks": False, "replaces": ["1" * 64]}, "1" * 64, "refused"),
        ({"passed": False, "lacks": True, "replaces": ["2" * 64]}, "1" * 64, "Another model serves flowers now"),
        ({"passed": False, "lacks": True}, "", "too few images to tell"),
    ):
        one.answer(**about)
        one.backend.functions = (
            [FunctionStatus(name="flowers", state="ready", artifact_digest=serves)] if serves else []
        )
        assert word in one.page(), about
        assert 'href="/models/runs/daisies/deploy"' not in one.page(), about
        assert one.deploy().status_code == 409, about
    assert one.jobs.started == []
    one.answer(replaces=["1" * 64])
    one.backend.functions = [FunctionStatus(name="flowers", state="ready", artifact_digest="1" * 64)]
    assert "a share of the images of flowers first" in one.client.get("/models/runs/daisies/deploy").text
    revisions = (RevisionReport(revision=one.digest[:12], percent=25), RevisionReport(revision="1" * 12, percent=75))
    report = RolloutReport(phase="advancing", reason="", revisions=revisions)
    one.backend.functions = [replace(one.backend.functions[0], rollout=report)]
    assert "It gets 25% of the requests of" in one.page()
    assert 'href="/models/runs/daisies/deploy"' not in one.page()
    gate_file(one.artifact).write_text('{"passed": true, "lines": 7}')
    assert one.client.get("/models/runs/daisies").status_code == 422
    reader = Deployable(tmp_path / "other", read_only=True)
    reader.answer()
    assert 'href="/models/runs/daisies/deploy"' not in reader.page()
    assert reader.client.get("/models/runs/daisies/deploy").status_code == 403

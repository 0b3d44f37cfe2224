"""The page Labels over a real book: what a browser with and without scripts gets, and what is written."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse

from eaves.console.backend import JobStatus
from eaves.labels import LabelBook
from eaves.platform import FunctionStatus
from tests.fakes.console.backend import FakeBackend, FakeJobs
from tests.fakes.console.browser import Browser, open_console
from tests.fakes.console.material import build_flow, small_jpeg
from tests.fakes.models.run import write_run

SCRIPT = {"Accept": "*/*"}
"""Headers of the page's script."""


@pytest.fixture
def backend(tmp_path: Path) -> FakeBackend:
    """A project with six photos, two classes and one label of Ann."""
    book = LabelBook(tmp_path / "photos")
    for number in range(6):
        book.add_photo(f"{number}.jpg", small_jpeg(number))
    for name in ("daisy", "rose"):
        book.name_class(name, "Ann")
    book.put({book.photos()[0].file: "rose"}, who="Ann")
    return FakeBackend(labels=book, jobs=FakeJobs(tmp_path / "review.json"))


@pytest.fixture
def browser(backend: FakeBackend) -> Browser:
    """Ben's browser, which keeps his name."""
    made = open_console(backend)
    assert made.submit("/labels/who", {"who": "  Ben\n K "}).status_code == 303
    return made


def book_of(backend: FakeBackend) -> LabelBook:
    assert backend.labels is not None
    return backend.labels


def jobs_of(backend: FakeBackend) -> FakeJobs:
    assert isinstance(backend.jobs, FakeJobs)
    return backend.jobs


def send(browser: Browser, path: str, document: Any) -> TestResponse:
    headers = {"Origin": browser.url, "X-CSRF-Token": browser.token("/labels"), **SCRIPT}
    return browser.client.post(path, base_url=browser.url, data=document, headers=headers)


def write_review(backend: FakeBackend, **document: Any) -> None:
    jobs_of(backend).review.write_text(json.dumps({"labelled": 1, **document}))


def test_without_a_folder_of_photos_there_is_no_page(backend: FakeBackend):
    assert 'href="/labels"' in open_console(backend).open("/events").text
    backend.labels = None
    browser = open_console(backend)
    assert 'href="/labels"' not in browser.open("/events").text
    assert browser.open("/labels").status_code == 404


def test_a_browser_without_scripts_labels_one_photo_after_the_other(backend: FakeBackend, browser: Browser):
    book = book_of(backend)
    first, second = (photo.file for photo in book.photos()[1:3])
    assert f'name="file" value="{first}"' in browser.open("/labels").text
    assert browser.submit("/labels/put", {"file": first, "before": "", "label": "daisy"}).status_code == 303
    found = book.find(first)
    assert found is not None
    assert (found.label, found.who) == ("daisy", "Ben K")
    assert f'name="file" value="{second}"' in browser.open("/labels").text
    browser.submit("/labels/undo")
    assert f'name="file" value="{first}"' in browser.open("/labels").text


def test_photos_that_only_judge_come_first_and_count_for_no_training(backend: FakeBackend, browser: Browser):
    book = book_of(backend)
    audited = [book.add_photo("z.jpg", small_jpeg(50 + number), audit=True) for number in range(2)]
    book.put({audited[0]: "rose"}, who="Ann")
    backend.functions = [FunctionStatus(name="flowers", state="ready", audit="right on 7 of 8 audit images")]
    page = browser.open("/labels").text
    assert f'name="file" value="{audited[1]}"' in page
    assert '<span>rose</span> <b class="number">1</b>' in page
    assert "flowers is right on 7 of 8 audit images." in page


def test_a_browser_without_scripts_reads_what_is_wrong_on_a_page(backend: FakeBackend, browser: Browser):
    file = book_of(backend).photos()[0].file
    conflict = browser.submit("/labels/put", {"file": file, "before": "", "label": "daisy"})
    name = browser.submit("/labels/classes", {"names": "=1"})
    for answer, status, text in ((conflict, 409, "meanwhile Ann says"), (name, 400, "it begins with =")):
        assert (answer.status_code, answer.mimetype, text in answer.text) == (status, "text/html", True)


def test_a_label_needs_a_name(backend: FakeBackend):
    answer = send(open_console(backend), "/labels/put", {"file": ["x.jpg"], "label": "rose", "before": ""})
    assert (answer.status_code, answer.json) == (
        400,
        {"message": "each label has the name of a person", "fix": "write yours into the field Your name"},
    )


def test_a_name_from_any_alphabet_comes_back_in_the_cookie(backend: FakeBackend):
    browser = open_console(backend)
    browser.submit("/labels/who", {"who": "Zoë; 李 <b>"})
    assert browser.client.get_cookie("eaves-who").value == quote("Zoë; 李 <b>")  # type: ignore[union-attr]
    assert "Zoë; 李 &lt;b&gt;" in browser.open("/labels").text


def test_a_pile_is_one_action_and_a_conflict_says_who_said_what(backend: FakeBackend, browser: Browser):
    book = book_of(backend)
    files = [photo.file for photo in book.photos()]
    answer = send(browser, "/labels/put", {"file": files, "label": "daisy", "before": ""})
    assert answer.status_code == 409
    assert answer.json is not None
    (conflict,) = answer.json["conflicts"].items()
    assert (conflict[0], conflict[1]["label"], conflict[1]["who"]) == (files[0], "rose", "Ann")
    assert [photo.label for photo in book.photos()] == ["rose", *[""] * 5], "nothing was written"
    assert send(browser, "/labels/put", {"file": files[1:], "label": "daisy", "before": ""}).status_code == 200
    answer = send(browser, "/labels/undo", {})
    assert answer.json == {"labels": dict.fromkeys(files[1:], ""), "last": ""}


def test_the_list_has_what_the_model_says_about_each_photo(backend: FakeBackend, browser: Browser):
    files = [photo.file for photo in book_of(backend).photos()]
    write_review(
        backend,
        piles=[files[3:5]],
        suggestions={files[0]: {"label": "daisy", "margin": 0.5}, files[5]: {"label": "rose", "margin": -0.1}},
        disagreements=[{"file": files[0], "label": "rose", "looks_like": "daisy", "margin": 0.5}],
        harmful=[{"file": files[1], "label": "rose", "looks_like": "daisy", "gain": 0.25}],
    )
    answer = browser.open("/labels/rows").json
    assert answer is not None
    rows = {row[0]: row[1:] for row in answer["rows"]}
    assert rows[files[0]] == ["rose", "daisy", 0.5, None, 0, None]
    assert rows[files[1]] == ["", "", None, None, None, 0.25]
    assert [rows[file][3] for file in files] == [None, None, None, 0, 0, None]
    assert f'name="file" value="{files[5]}"' in browser.open("/labels").text, "the least sure photo comes first"


def test_a_long_list_comes_in_parts(backend: FakeBackend, browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("eaves.console.pages.labels.PAGE", 4)
    first = browser.open("/labels/rows").json
    assert first is not None
    rest = browser.open(f"/labels/rows?after={first['after']}").json
    assert rest is not None
    assert [row[0] for row in first["rows"] + rest["rows"]] == [photo.file for photo in book_of(backend).photos()]
    assert (len(first["rows"]), rest["after"], rest["total"]) == (4, "", 6)


def test_photos_are_added_and_what_is_no_image_is_refused(backend: FakeBackend, browser: Browser):
    files = [
        FileStorage(stream=io.BytesIO(data), filename=name)
        for data, name in ((small_jpeg(9), "../new <b>.jpg"), (b"notes", "notes.txt"), (small_jpeg(1), "again.jpg"))
    ]
    answer = browser.submit("/labels/photos", {"photo": files}, Accept="*/*")
    assert answer.json is not None
    assert len(answer.json["added"]) == 2
    assert [one[:12] for one in answer.json["refused"]] == ["'notes.txt' "]
    assert len(book_of(backend).photos()) == 7


def test_a_photo_is_sent_whole_or_small_and_no_other_file_is(backend: FakeBackend, browser: Browser):
    book = book_of(backend)
    file = book.photos()[0].file
    whole, small = browser.open(f"/labels/photos/{file}"), browser.open(f"/labels/photos/{file}?small")
    assert whole.data == (book.folder / file).read_bytes()
    assert (whole.content_type, small.content_type) == ("image/jpeg", "image/jpeg")
    assert whole.headers["ETag"] != small.headers["ETag"]
    again = browser.open(f"/labels/photos/{file}", If_None_Match=whole.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    (book.folder / "script.jpg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (book.folder.parent / "secret.jpg").write_bytes(small_jpeg())
    for other in ("labels.csv", "../secret.jpg", "%2e%2e/secret.jpg", "script.jpg"):
        assert browser.open(f"/labels/photos/{other}").status_code == 404, other


def test_labels_go_out_and_come_in(backend: FakeBackend, browser: Browser):
    exported = browser.open("/labels/labels.csv")
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert exported.headers["Content-Disposition"] == 'attachment; filename="labels.csv"'
    assert [row["label"] for row in rows] == ["rose", *[""] * 5]
    files = [row["file"] for row in rows]
    text = f"file,label\n{files[1]},tulip\nnone.jpg,tulip\n".encode()
    page = browser.submit("/labels/import", {"labels": (io.BytesIO(text), "labels.csv")}).text
    assert "1 label imported" in page
    assert "1 line can&#39;t be used" in page or "1 line can't be used" in page
    studio = [{"data": {"image": files[2]}, "annotations": [{"result": [{"value": {"choices": ["daisy"]}}]}]}]
    document = io.BytesIO(json.dumps(studio).encode())
    assert "1 label imported" in browser.submit("/labels/import", {"labels": (document, "export.json")}).text
    assert [photo.label for photo in book_of(backend).photos()][:3] == ["rose", "tulip", "daisy"]
    damaged = browser.submit("/labels/import", {"labels": (io.BytesIO(b"[\xff"), "x.json")})
    assert (damaged.status_code, "can&#39;t be read" in damaged.text or "can't be read" in damaged.text) == (400, True)


def test_a_training_is_offered_with_enough_labels_and_started_once(
    backend: FakeBackend, browser: Browser, tmp_path: Path
):
    book, jobs = book_of(backend), jobs_of(backend)
    assert "Train here" not in browser.open("/labels").text
    for number in range(6, 11):
        book.put({book.add_photo(f"{number}.jpg", small_jpeg(number)): "daisy"}, who="Ann")
    book.put(dict.fromkeys([photo.file for photo in book.photos() if not photo.label], "rose"), who="Ann")
    jobs.places = ("here", "cluster")
    page = browser.open("/labels").text
    assert "Train here" in page
    assert "Train in the cluster" in page
    assert browser.submit("/labels/jobs/train", {"where": "cluster"}).status_code == 303
    assert jobs.started == [("train", {"where": "cluster"})]
    jobs.known["train"] = JobStatus(state="running", started=1.0, lines=("epoch <1>",))
    page = browser.open("/labels").text
    assert "Train here" not in page
    assert "epoch &lt;1&gt;" in page
    again = browser.submit("/labels/jobs/train", {"where": "here"})
    assert (again.status_code >= 400, '<a href="/labels">Go back</a>' in again.text) == (True, True)
    jobs.known["train"] = JobStatus(state="done", started=1.0, ended=2.0, result={"run": "flowers-7"})
    backend.known_runs["flowers-7"] = write_run(tmp_path / "runs" / "flowers-7", photos=tmp_path / "known").path
    page = browser.open("/labels").text
    assert 'href="/models/runs/flowers-7"' in page
    assert "Deploy" not in page, "the gate has not judged it"


def test_good_photos_alone_are_enough_to_find_what_is_unusual(backend: FakeBackend, browser: Browser):
    book, jobs = book_of(backend), jobs_of(backend)
    for number in range(6, 11):
        book.put({book.add_photo(f"{number}.jpg", small_jpeg(number)): "daisy"}, who="Ann")
    page = browser.open("/labels").text
    assert ("If daisy is the class of good parts" in page, "Train here on good photos" in page) == (True, True)
    assert browser.submit("/labels/jobs/train", {"where": "here", "good": "daisy"}).status_code == 303
    assert jobs.started == [("train", {"where": "here", "good": "daisy"})]
    jobs.known.clear()
    jobs.good = "rose"
    page = browser.open("/labels").text
    assert ("at least 5 labelled photos of rose" in page, "Train here" in page) == (True, False)
    jobs.good = "daisy"
    page = browser.open("/labels").text
    assert ("Train here<" in page, "on good photos" in page, 'name="good"' in page) == (True, False, False)


def test_a_collection_says_what_it_does_and_how_it_ended(backend: FakeBackend, browser: Browser):
    jobs, offer = jobs_of(backend), 'action="/labels/jobs/collect"'
    lines = ("camera is waiting: refused <b>", "1 of 3 images collected; images left out: duplicate 6")
    jobs.known["collect"] = JobStatus(state="running", started=1.0, lines=lines[:1])
    page = browser.open("/labels").text
    assert ("camera is waiting: refused &lt;b&gt;" in page, offer in page) == (True, False)
    jobs.known["collect"] = JobStatus(state="done", started=1.0, ended=2.0, lines=(*lines, "the step is done"))
    page = browser.open("/labels").text
    assert (f"The last collection: {lines[1]}" in page, offer in page) == (True, True)


def test_a_review_is_made_again_after_some_labels_but_not_after_a_failure(backend: FakeBackend):
    def is_stale() -> bool:
        return "data-stale" in open_console(backend).fetch("/parts/labels").text

    assert is_stale(), "there is none"
    write_review(backend, created="2099-01-01T00:00:00Z", suggestions={"a.jpg": {"label": "rose", "margin": 0.1}})
    assert not is_stale()
    book = book_of(backend)
    for number in range(30, 55):
        book.put({book.add_photo(f"{number}.jpg", small_jpeg(number)): "daisy"}, who="Ann")
    write_review(backend, created="2000-01-01T00:00:00Z", suggestions={"a.jpg": {"label": "rose", "margin": 0.1}})
    assert is_stale()
    jobs_of(backend).known["review"] = JobStatus(state="failed", started=1.0, fault="no room")
    assert not is_stale(), "it would fail again and again"


def test_how_much_the_labels_are_worth_is_drawn_and_said(backend: FakeBackend, browser: Browser):
    curve = [{"labels": 25 * n, "accuracy": 0.5 + n / 10, "low": 0.4, "high": 0.9} for n in (1, 2)]
    expected = {"more": 50, "gain": 0.02, "low": -0.005, "high": 0.04, "text": "50 more labels bring <2> points."}
    write_review(backend, text="label more", labelled=9)
    assert "abel more" not in open_console(backend).fetch("/parts/labels").text, "of other labels than those of now"
    write_review(backend, curve=curve, expected=expected, text="go on.", notes=["a note"])
    page = browser.fetch("/parts/labels").text
    for text in ("Go on.", "50 more labels bring &lt;2&gt; points.", "A note.", "70% with 50 labels", "185.0,70.0"):
        assert text in page, text


def test_the_picture_of_an_event_becomes_a_labelled_photo(backend: FakeBackend, browser: Browser):
    flow = build_flow(2)
    flow.put_into(backend)
    backend.images.images = dict(flow.images)
    seq = backend.records.newest()
    assert "Correct the label" in browser.open(f"/events/{seq}").text
    saved = browser.submit(f"/labels/events/{seq}", {"label": "daisy"})
    assert (saved.status_code, saved.location) == (303, f"/events/{seq}?said=daisy")
    assert "Saved: daisy." in browser.open(saved.location).text
    assert "Saved" not in browser.open(f"/events/{seq}?said=lies").text
    book, record = book_of(backend), backend.records.get(seq)
    assert record is not None
    (photo,) = [photo for photo in book.photos() if photo.label == "daisy"]
    assert (book.folder / photo.file).read_bytes() == flow.images[record.image]
    backend.images.images.clear()
    assert "Correct the label" not in browser.open(f"/events/{seq}").text
    assert browser.submit(f"/labels/events/{seq}", {"label": "rose"}).status_code == 404


def test_a_read_only_console_shows_the_photos_and_offers_no_change(backend: FakeBackend):
    page = open_console(backend, read_only=True).open("/labels")
    assert (page.status_code, "photos labelled" in page.text) == (200, True)
    assert 'action="/labels' not in page.text

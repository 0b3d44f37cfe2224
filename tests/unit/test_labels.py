"""What people say of photos: one file of lines, that people and spreadsheets write."""

import errno
import os
import re
import time
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from eaves.errors import DatasetError, ImageError, InputError, LabelConflictError, NotFoundError, StorageError
from eaves.labels import LABELS, NOT_USABLE, LabelBook
from tests.fakes.clock import FrozenClock

JPEG = b"\xff\xd8\xff a picture of "
ODD = 'daisy/a, "b"\nc.jpg'


def build_folder(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(JPEG + file.encode())
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_folder(tmp_path / "data", "1.jpg", "2.jpg", "3.jpg", ODD, "rose/x/4.jpg")


def labels(folder: Path) -> dict[str, str]:
    return {photo.file: photo.label for photo in LabelBook(folder).photos()}


def test_the_last_line_takes_precedence_over_the_folder_whoever_reads_it(folder: Path):
    book, other = LabelBook(folder), LabelBook(folder)
    assert labels(folder) == {"1.jpg": "", "2.jpg": "", "3.jpg": "", ODD: "daisy", "rose/x/4.jpg": "rose"}
    when = book.put({ODD: "tulip"}, who="Anna")
    other.put({"1.jpg": NOT_USABLE}, who="Ben")
    book.put({"rose/x/4.jpg": ""}, who="Anna")
    assert labels(folder) == {"1.jpg": NOT_USABLE, "2.jpg": "", "3.jpg": "", ODD: "tulip", "rose/x/4.jpg": ""}
    assert [*book.photos()] == [*other.photos()] == [*LabelBook(folder).photos()]
    found = book.find(ODD)
    assert found is not None
    assert (found.who, found.when) == ("Anna", when)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", when)
    assert [*book.classes()] == ["daisy", "rose", "tulip"]


def test_an_answer_that_was_lost_makes_no_second_action_and_no_second_undo(folder: Path):
    book, pile = LabelBook(folder), {"2.jpg": "rose", "3.jpg": "rose"}
    first = book.put({"1.jpg": "rose"}, who="Anna", before={"1.jpg": ""})
    when = book.put(pile, who="Anna", before=dict.fromkeys(pile, ""))
    assert book.put(pile, who="Anna", before=dict.fromkeys(pile, "")) == when == LabelBook(folder).last("Anna")
    assert LabelBook(folder).undo("Anna", when) == book.undo("Anna", when) == dict.fromkeys(pile, "")
    assert labels(folder)["1.jpg"] == "rose"
    assert book.undo("Ben", first) is None
    assert book.last("Anna") == first
    assert book.put({"1.jpg": "rose"}, who="Ben") not in (first, when)  # Ben agrees, which is his action
    assert book.put({"2.jpg": "rose"}, who="Anna", before={"2.jpg": ""}) not in (first, when)


def test_a_carriage_return_in_a_file_name_ends_no_row(tmp_path: Path):
    book = LabelBook(build_folder(tmp_path, "a\rb.jpg"))
    book.put({"a\rb.jpg": "rose"}, who="Anna")
    assert labels(tmp_path) == {"a\rb.jpg": "rose"}
    assert LabelBook(tmp_path).import_csv(book.export_csv(), "Ben").taken == 1


def test_a_photo_is_added_without_listing_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """20,000 photos are dropped one after the other; listing them takes 50 ms."""
    book = LabelBook(build_folder(tmp_path, "1.jpg"))
    book.photos()
    monkeypatch.setattr("eaves.labels.list_folder", None)
    assert book.add_photo("2.jpg", JPEG) == book.add_photo("3.jpg", JPEG)


def test_a_name_in_another_normal_form_is_the_same_class_and_photo(tmp_path: Path):
    """macOS decomposes the names of files and folders."""
    folder = build_folder(tmp_path, *(normalize("NFD", name) for name in ("Blüte.jpg", "Röslein/1.jpg")))
    book = LabelBook(folder)
    book.name_class("Röslein", "Anna")
    assert book.import_csv("file,label\nBlüte.jpg,Röslein\n", "Anna").taken == 1
    assert [*book.classes()] == [normalize("NFD", "Röslein")]
    assert len(labels(folder)) == 2


def test_what_somebody_else_said_meanwhile_is_reported_and_nothing_is_written(folder: Path):
    book = LabelBook(folder)
    seen = {"1.jpg": "", "2.jpg": ""}
    LabelBook(folder).put({"2.jpg": "rose"}, who="Ben")
    with pytest.raises(LabelConflictError, match="Ben says 'rose'") as caught:
        book.put(dict.fromkeys(seen, "daisy"), who="Anna", before=seen)
    assert [*caught.value.conflicts] == ["2.jpg"]
    assert labels(folder)["1.jpg"] == ""
    book.put(dict.fromkeys(seen, "rose"), who="Anna", before=seen)  # the same label is no conflict


def test_a_pile_is_one_group_and_one_undo_also_after_a_restart(folder: Path):
    pile = ["1.jpg", "2.jpg", "3.jpg"]
    LabelBook(folder).put({"1.jpg": "daisy"}, who="Anna")
    LabelBook(folder).put(dict.fromkeys(pile, "rose"), who="Anna")
    LabelBook(folder).put({"3.jpg": "tulip"}, who="Ben")
    said = LabelBook(folder).labels()
    assert len({said[file].group for file in pile}) == 1  # a correction leaves the photo in its pile
    assert said["3.jpg"].group
    assert LabelBook(folder).undo("Anna") == {"1.jpg": "daisy", "2.jpg": "", "3.jpg": "tulip"}
    assert labels(folder) | {"1.jpg": "daisy", "2.jpg": "", "3.jpg": "tulip"} == labels(folder)
    assert LabelBook(folder).undo("Ben") == {"3.jpg": ""}  # not Anna's, which she has taken back
    assert LabelBook(folder).undo("Anna") == {"1.jpg": ""}
    assert LabelBook(folder).undo("Anna") is None
    assert LabelBook(folder).undo("Cleo") is None
    assert set(labels(folder).values()) == {"", "daisy", "rose"}


def test_each_action_has_a_time_of_its_own_by_a_clock_that_stands_still(folder: Path):
    book = LabelBook(folder, FrozenClock())
    assert len({book.put({"1.jpg": label}, who="Anna") for label in ("a", "b", "c")}) == 3
    assert [book.undo("Anna") for _ in range(4)] == [{"1.jpg": "b"}, {"1.jpg": "a"}, {"1.jpg": ""}, None]


@pytest.mark.parametrize("written", [1, 60, 10_000])
def test_an_action_that_was_not_finished_counts_for_nothing(folder: Path, written: int):
    """A process that was killed after some of the bytes of a pile, all of which are there but the first."""
    book, file = LabelBook(folder), folder / LABELS
    book.put({"1.jpg": "rose"}, who="Anna")
    before = file.read_bytes()
    book.put({"2.jpg": "tulip", "3.jpg": "tulip", ODD: "tulip"}, who="Anna")
    file.write_bytes(before + b"\0" + file.read_bytes()[len(before) + 1 :][:written])
    assert labels(folder)["2.jpg"] == ""
    late = LabelBook(folder)
    assert len([photo for photo in late.photos() if photo.who]) == 1
    late.put({"2.jpg": "rose"}, who="Anna")
    assert b"\0" not in file.read_bytes()
    assert file.read_bytes().startswith(before)
    assert labels(folder) | {"1.jpg": "rose", "2.jpg": "rose", "3.jpg": "", ODD: "daisy"} == labels(folder)


def test_an_action_that_another_process_finishes_is_seen_though_size_and_time_stay(folder: Path):
    book, file = LabelBook(folder), folder / LABELS
    book.put({"1.jpg": "rose"}, who="Anna")
    whole, stamp = file.read_bytes(), file.stat()
    start = whole.index(b"1.jpg")
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\0")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    reader = LabelBook(folder)
    assert reader.find("1.jpg").label == ""  # type: ignore[union-attr]
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"1")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert reader.find("1.jpg").label == "rose"  # type: ignore[union-attr]


def test_nul_bytes_amid_the_labels_are_damage_and_cut_nothing_off(folder: Path):
    book = LabelBook(folder)
    for label in ("a", "b", "c"):
        book.put({"1.jpg": label}, who="Anna")
    damaged = (folder / LABELS).read_bytes().replace(b"1.jpg,b", b"\0\0\0\0\0\0\0")
    (folder / LABELS).write_bytes(damaged)
    with pytest.raises(DatasetError, match="NUL bytes in line 3"):
        LabelBook(folder).put({"2.jpg": "a"}, who="Anna")
    assert (folder / LABELS).read_bytes() == damaged


def test_a_file_from_a_spreadsheet_is_taken_and_keeps_its_lines_and_columns(folder: Path):
    file = folder / LABELS
    file.write_bytes(
        b"\xef\xbb\xbfNotes,Label,Path\r\nblurred,rose,1.jpg\r\n,,2.jpg\r\n,,\r\nx,,rose/x/4.jpg\r\n,tulip,"
    )
    assert labels(folder) == {"1.jpg": "rose", "2.jpg": "", "3.jpg": "", ODD: "daisy", "rose/x/4.jpg": "rose"}
    book = LabelBook(folder)
    assert "tulip" in book.classes()  # a line without a file names a class
    when = book.put({"2.jpg": "rose"}, who="Anna")
    lines = file.read_text().splitlines()
    assert lines[0] == "Notes,Label,Path,group,who,when,undoes"
    assert lines[1] == "blurred,rose,1.jpg"
    assert lines[-1] == f",rose,2.jpg,,Anna,{when},"
    assert book.undo("Anna") == {"2.jpg": ""}
    assert book.undo("Anna") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"file;label\r\n1.jpg;rose\r\n",
            "line 1 must name the columns file and label, but is 'file;label'; save it with commas instead of semic",
        ),
        (b"id,breed\n1,rose\n", "line 1 must name the columns file and label, but is 'id,breed'$"),
        (b"file,label\n1.jpg,ros\xe9\n", "'utf-8' codec can't decode byte 0xe9 in position 20"),
        (b'file,label\n1.jpg,"rose\n2.jpg,rose\n', "line 3 is not valid CSV: unexpected end of data"),
        (b"file,label\n1.jpg," + b"x" * 200_000, "line 2 is not valid CSV: field larger than"),
        (b"file,la\0bel\n", "NUL bytes in line 1"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused_with_the_line_and_left_alone(
    folder: Path, content: bytes, message: str
):
    (folder / LABELS).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        LabelBook(folder).photos()
    with pytest.raises(DatasetError, match=message):
        LabelBook(folder).put({"1.jpg": "rose"}, who="Anna")
    assert (folder / LABELS).read_bytes() == content


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a/b", "a\\b", "a\nb", "a\0b", "\ud800", "=cmd", "+1", "@x", ".x", "x" * 61]
)
def test_names_that_are_none_are_refused(folder: Path, name: str):
    book = LabelBook(folder)
    with pytest.raises(InputError, match="can't be used"):
        book.name_class(name, "Anna")
    with pytest.raises(InputError, match="can't be used"):
        book.put({"1.jpg": "rose"}, who=name)
    with pytest.raises(InputError, match="can't be used"):
        book.undo(name)
    with pytest.raises(InputError, match="can't be used"):
        book.import_csv("", name)
    with pytest.raises(InputError, match="can't be used"):
        book.put({"1.jpg": name or " "}, who="Anna")
    with pytest.raises(InputError, match="meaning of its own"):
        book.name_class(NOT_USABLE, "Anna")
    assert not (folder / LABELS).exists() or not (folder / LABELS).read_bytes()


def test_photos_that_the_folder_does_not_have_are_not_found(folder: Path):
    (folder.parent / "outside.jpg").write_bytes(JPEG)
    book = LabelBook(folder)
    for name in ("../outside.jpg", "/etc/hosts", "", ".", "rose", "rose/../1.jpg", "x\0.jpg", "\ud800.jpg", "x" * 5000):
        assert book.find(name) is None
        with pytest.raises(NotFoundError):
            book.put({"1.jpg": "rose", name: "rose"}, who="Anna")
    assert set(labels(folder).values()) == {"", "daisy", "rose"}


def test_what_changes_in_the_folder_is_noticed(folder: Path):
    book = LabelBook(folder)
    book.photos()
    build_folder(folder, "rose/x/5.jpg", "tulip/6.jpg", ".hidden/7.jpg", "rose/.8.jpg", "rose/9.txt")
    (folder / "1.jpg").unlink()
    assert [photo.file for photo in book.photos()] == [
        "2.jpg",
        "3.jpg",
        ODD,
        "rose/x/4.jpg",
        "rose/x/5.jpg",
        "tulip/6.jpg",
    ]
    assert book.find("1.jpg") is None
    assert "tulip" in book.classes()


def test_a_declared_split_has_its_classes_one_folder_deeper(tmp_path: Path):
    book = LabelBook(build_folder(tmp_path, "train/rose/1.jpg", "val/daisy/2.jpg", "train/3.jpg", "4.jpg"))
    assert {photo.file: photo.label for photo in book.photos()} == {
        "train/rose/1.jpg": "rose",
        "val/daisy/2.jpg": "daisy",
        "train/3.jpg": "",
        "4.jpg": "",
    }
    assert [*book.classes()] == ["daisy", "rose"]


def test_a_book_of_a_folder_that_is_not_there_yet_is_empty_and_makes_it(tmp_path: Path):
    book = LabelBook(tmp_path / "new" / "data")
    assert ([*book.photos()], [*book.classes()], book.find("x"), book.undo("Anna")) == ([], [], None, None)
    book.name_class("rose", "Anna")
    book.name_class("rose", "Ben")
    assert [*LabelBook(book.folder).classes()] == ["rose"]
    assert len((book.folder / LABELS).read_text().splitlines()) == 2


def test_an_added_photo_is_kept_once_and_under_a_safe_name(tmp_path: Path):
    book = LabelBook(tmp_path / "data")
    file = book.add_photo("../../C:\\x\\Mein Bild (1).JPEG", JPEG)
    assert re.fullmatch(r"Mein-Bild-1-[0-9a-f]{16}\.jpg", file)
    assert book.add_photo("other.png", JPEG) == file
    (book.folder / "rose").mkdir()
    (book.folder / file).rename(book.folder / "rose" / file)
    assert book.add_photo("other.png", JPEG) == f"rose/{file}"
    for name in ("=cmd|x.jpg", "\0", "..", "ü" * 300 + ".jpg", ".jpg", "\ud800.jpg"):
        added = book.add_photo(name, JPEG + ascii(name).encode())
        assert book.find(added) is not None, name
        assert "/" not in added
    judges = book.add_photo("other.png", JPEG, audit=True)
    assert re.fullmatch(r"audit/other-[0-9a-f]{16}\.jpg", judges)
    assert book.add_photo("a.jpg", JPEG) == book.add_photo("a.jpg", JPEG, audit=True) == judges
    assert "audit" not in book.classes()
    for data in (b"", b"<svg>", b"\0\0\0\x18ftypheic"):
        with pytest.raises(ImageError, match="is no image in a format that is read"):
            book.add_photo("a.jpg", data)


def test_a_photo_that_did_not_fit_on_the_disk_or_was_deleted_is_written_when_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    book = LabelBook(tmp_path)
    assert not book.photos()
    with monkeypatch.context() as patched:
        patched.setattr("eaves.labels.write_atomically", refuse)
        with pytest.raises(StorageError):
            book.add_photo("a.jpg", JPEG)
    for _ in range(2):
        file = tmp_path / book.add_photo("a.jpg", JPEG)
        assert file.read_bytes() == JPEG
        assert book.photos()
        file.unlink()


def test_a_csv_is_imported_as_one_action_and_refused_by_line(folder: Path):
    book = LabelBook(folder)
    added = book.add_photo("My Photo_1.JPEG", JPEG)
    text = (
        '\ufeffwhen,who,Label,group,path\r\n,,rose,part7,1.jpg\r\n,,=cmd,,2.jpg\r\n,,tulip,,"daisy/a, ""b""\nc.jpg"\r\n'
        ",,rose,,../1.jpg\r\n,,rose,,/etc/passwd\r\n,,rose,,https://example.com/1.jpg\r\n,,,,3.jpg\r\n,,rose,,9.jpg\r\n"
        ",,daisy,,My Photo_1.JPEG\r\n,,a\0b,,2.jpg\r\n,,,,\r\n"
    )
    found = book.import_csv(text, "Anna")
    assert found.taken == 3
    assert [line.partition(": ")[::2] for line in found.refused] == [
        ("line 3", "the name '=cmd' can't be used: it begins with ="),
        ("line 6", "the path '../1.jpg' leaves the folder"),
        ("line 7", "the path '/etc/passwd' leaves the folder"),
        ("line 8", "'https://example.com/1.jpg' is an address; only photos of the folder are labelled"),
        ("line 10", "the folder has no photo '9.jpg'"),
        ("line 12", "the name 'a\\x00b' can't be used: it has characters that can't be printed"),
    ]
    assert labels(folder)[added] == "daisy"
    assert book.labels()["1.jpg"].group == "part7"
    before = (folder / LABELS).read_bytes()
    assert book.import_csv(book.export_csv(), "Ben").taken == 4  # what a folder says counts, too
    assert (folder / LABELS).read_bytes() == before
    assert book.undo("Anna") == {"1.jpg": "", ODD: "daisy", added: ""}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("", "nothing is taken: line 1 must name the columns file and label, but is ''"),
        (
            "file;label\n1.jpg;rose",
            "nothing is taken: line 1 must name the columns file and label, but is 'file;label'; save it with commas",
        ),
        (
            'file,label\n1.jpg,rose\n2.jpg,"rose',
            "nothing is taken: line 3 is not valid CSV: unexpected end of data",
        ),
        (
            "file,label\n1.jpg,rose\n" + "\0" * 300_000,
            "nothing is taken: line 3 is not valid CSV: field larger than field limit",
        ),
        ("file,label\n" + "../x.jpg,rose\n" * 5000, "and 4900 more"),
        ("file,label\n" + "\ud800,rose\n", r"line 2: the folder has no photo '\ud800'"),
    ],
)
def test_a_hostile_csv_ends_in_reasons(folder: Path, text: str, refused: str):
    found = LabelBook(folder).import_csv(text, "Anna")
    assert found.refused[-1].startswith(refused)
    assert len(found.refused) <= 101
    assert found.taken == 0


def task(image: Any, *choices: Any, **more: Any) -> dict[str, Any]:
    result = [{"value": {"choices": list(choices)}, "type": "choices"}]
    return {"data": {"image": image}, "annotations": [{"result": result, **more}]}


def test_the_export_of_label_studio_is_imported(folder: Path):
    book = LabelBook(folder)
    added = book.add_photo("My photo.JPEG", JPEG)
    cancelled = task("2.jpg", "tulip")
    cancelled["annotations"].append({"result": [], "was_cancelled": True})
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    refused = {
        "the path '../../etc/passwd' leaves the folder": task("/data/local-files/?d=../../etc/passwd", "rose"),
        "the path '/etc/passwd' leaves the folder": task("/etc/passwd", "rose"),
        "'s3://bucket/1.jpg' is an address; only photos of the folder are labelled": task("s3://bucket/1.jpg", "rose"),
        "the path '..' leaves the folder": task("/data/upload/1/..", "rose"),
        "it has no data.image": task(7, "rose"),
        "it has 2 choices, not one": task("3.jpg", "rose", "tulip"),
        "it has 0 choices, not one": task("3.jpg", was_cancelled=True),
        "the name '=1' can't be used: it begins with =": task("3.jpg", "=1"),
    }
    wrong: list[Any] = [None, 3, "x", [], {}, {"data": []}, deep, {"data": {"image": "3.jpg"}, "annotations": deep}]
    document = [
        task("/data/upload/3/0a1b2c3d-My_photo.JPEG", "daisy"),
        task("/data/local-files/?d=data%2Frose/x/4.jpg", "tulip"),
        cancelled,
        *refused.values(),
        *wrong,
    ]
    found = book.import_label_studio(document, "Anna")
    assert found.taken == 3
    assert [line.partition(": ")[2] for line in found.refused][: len(refused)] == [*refused]
    assert len(found.refused) == len(refused) + len(wrong)
    assert labels(folder) | {added: "daisy", "rose/x/4.jpg": "tulip", "2.jpg": "tulip"} == labels(folder)
    assert (
        book.import_label_studio({"tasks": []}, "Anna")
        .refused[0]
        .startswith("nothing is taken: this is not a list of t")
    )


def test_names_that_several_photos_have_are_refused(tmp_path: Path):
    book = LabelBook(build_folder(tmp_path, "a/1.jpg", "b/1.jpg", "c/2.jpg"))
    found = book.import_csv("file,label\n1.jpg,rose\n2.jpg,rose\nb/1.jpg,rose\n", "Anna")
    assert (found.taken, found.refused) == (2, ("line 2: 2 photos have the name '1.jpg'",))


def test_twenty_thousand_photos_are_listed_at_once_when_nothing_has_changed(tmp_path: Path):
    build_folder(tmp_path, *(f"rose/{number:05}.jpg" for number in range(20_000)))
    (tmp_path / LABELS).write_text(
        "path,label\n" + "".join(f"rose/{number:05}.jpg,tulip\n" for number in range(20_000))
    )
    book = LabelBook(tmp_path)
    assert [photo.label for photo in book.photos()] == ["tulip"] * 20_000
    taken: list[float] = []
    for _ in range(3):
        start = time.thread_time()  # other processes may have the processors
        book.photos()
        taken.append(time.thread_time() - start)
    assert min(taken) < 0.2

"""Labels that were acknowledged are on the disk: processes that label are killed, label at once, and fill the disk."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from eaves.labels import LABELS, LabelBook
from eaves.labels_file import COLUMNS, parse_rows
from tests.disks import FILL, run_on_disk
from tests.syscalls import needs_strace

PHOTOS = [f"{number:03}.jpg" for number in range(60)]
LABELLING = """
import itertools, random, sys
from pathlib import Path
from eaves.labels import LabelBook
book, who, draw = LabelBook(Path(sys.argv[1])), sys.argv[2], random.Random(sys.argv[3])
files = [photo.file for photo in book.photos()]
for number in itertools.islice(itertools.count(), int(sys.argv[4])):
    chosen = draw.sample(files, draw.choice((1, 1, 20)))
    label = f"{who} {sys.argv[3]} {number}"
    print(book.put(dict.fromkeys(chosen, label), who=who), len(chosen), label, *chosen, flush=True)
    if number % 7 == 6:
        book.undo(who)
        print("undone", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in PHOTOS:
        (folder / name).write_bytes(name.encode())
    return folder


def start(folder: Path, who: str, seed: int, count: int = sys.maxsize) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", LABELLING, str(folder), who, str(seed), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_actions(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Time of each action that is on the disk, to its files and their label; an undo is one, too."""
    found: dict[str, list[tuple[str, str]]] = {}
    text = (folder / LABELS).read_bytes().partition(b"\0")[0].decode()
    for _, row in parse_rows(text)[1]:
        assert len(row) == len(COLUMNS)
        found.setdefault(row["when"], []).append((row["file"], "" if row["undoes"] else row["label"]))
    return found


def check_acknowledged(folder: Path, printed: list[str], who: str) -> int:
    """Check that each saved action is on the disk with all its lines; return how many more labels there are."""
    actions = read_actions(folder)
    saved = [line.split(" ") for line in printed if line.endswith(".jpg")]
    for when, _, *words in saved:
        label, files = " ".join(words[:3]), words[3:]
        assert sorted(actions[when]) == sorted((file, label) for file in files)
    mine = [lines for lines in actions.values() if lines[0][1].startswith(who)]
    assert {len(lines) for lines in mine} <= {1, 20}  # no part of a pile
    return len(mine) - len(saved)


def test_no_kill_loses_a_label_that_was_saved_or_leaves_a_part_of_a_pile(folder: Path):
    for number in range(5):
        processes = {who: start(folder, who, number) for who in (f"Anna{number}", f"Ben{number}")}
        printed = {who: [process.stdout.readline()] for who, process in processes.items() if process.stdout}
        for who, process in processes.items():
            assert process.stdout is not None
            printed[who] += [process.stdout.readline() for _ in range(random.Random(number).randrange(5, 60))]
            process.kill()
            rest = process.communicate()[0].splitlines(keepends=True)
            printed[who] += [line for line in rest if line.endswith("\n")]
        for who, lines in printed.items():
            assert check_acknowledged(folder, [line.strip() for line in lines], who) in (0, 1)
        # What the book shows is what is on the disk: the last line of each file that nobody has taken back.
        whole = LabelBook(folder)
        last: dict[str, str] = {}
        undone = {
            row["undoes"] for _, row in parse_rows((folder / LABELS).read_bytes().partition(b"\0")[0].decode())[1]
        }
        for when, said in read_actions(folder).items():
            last |= {file: label for file, label in said if label and when not in undone}
        assert {photo.file: photo.label for photo in whole.photos() if photo.label} == last
        whole.put({PHOTOS[0]: "after the kill"}, who="Cleo")


def test_two_who_label_at_once_lose_none_and_time_tells_their_actions_apart(folder: Path):
    processes = {who: start(folder, who, 9, 100) for who in ("Anna", "Ben")}
    for who, process in processes.items():
        printed = process.communicate(timeout=60)[0].splitlines()
        assert process.returncode == 0
        assert len(printed) == 114
        assert check_acknowledged(folder, printed, who) == 0
    assert len(read_actions(folder)) == 228


ONE_PILE = """
import sys
from pathlib import Path
from eaves.labels import LabelBook
book = LabelBook(Path(sys.argv[1]))
book.put({photo.file: "rose" for photo in book.photos()}, who="Anna")
"""


@needs_strace
@pytest.mark.parametrize(("killed_at", "counts"), [(1, False), (2, False), (3, True)])
def test_a_pile_counts_once_all_of_it_is_on_the_disk(folder: Path, killed_at: int, counts: bool):
    """Killed while the pile is synced, while the new file's name is, and while the pile's first byte is."""
    inject = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync",
        "-e",
        f"inject=fsync:signal=KILL:when={killed_at}",
    ]
    done = subprocess.run([*inject, sys.executable, "-P", "-c", ONE_PILE, str(folder)], check=False, timeout=30)
    assert done.returncode != 0
    assert {photo.label for photo in LabelBook(folder).photos()} == {"rose" if counts else ""}
    LabelBook(folder).put({PHOTOS[0]: "tulip"}, who="Ben")
    assert LabelBook(folder).undo("Anna") is None or counts


FULL = """
import sys
from pathlib import Path
from eaves.errors import StorageError
from eaves.labels import LabelBook
book, saved = LabelBook(Path.cwd()), 0
try:
    for number in range(10_000):
        book.put(dict.fromkeys((f"{each}.jpg" for each in range(20)), f"label {number}"), who="Anna")
        saved += 1
except StorageError as error:
    print(saved, error.message)
try:
    book.add_photo("a.jpg", b"\\xff\\xd8\\xff" + bytes(100_000))
except StorageError as error:
    print(error.message)
"""
LOOK = """
from pathlib import Path
from eaves.labels import LabelBook
print([*Path.cwd().glob(".*")], {photo.label for photo in LabelBook(Path.cwd()).photos()})
Path("filler").unlink()
LabelBook(Path.cwd()).put({f"{each}.jpg": "rose" for each in range(20)}, who="Anna")
print({photo.label for photo in LabelBook(Path.cwd()).photos()})
"""


def test_a_full_disk_is_said_and_no_part_of_a_pile_counts(tmp_path: Path):
    photos = "for n in $(seq 0 19); do touch $n.jpg; done; dd if=/dev/zero of=hole bs=1k count=40 2>/dev/null"
    after = f"{sys.executable} -P - <<'END'\n{LOOK}END\n"
    done = run_on_disk(["-c", FULL], tmp_path, before=f"{photos}; {FILL}; rm hole", after=after)
    label, photo, left, room = done.stdout.splitlines()
    saved, _, message = label.partition(" ")
    assert int(saved) > 5
    for text in (message, photo):
        assert text.startswith("the disk that holds")
    assert left == f"[] {{'label {int(saved) - 1}'}}"
    assert room == "{'rose'}"

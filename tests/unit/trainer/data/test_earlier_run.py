"""Which earlier run's split a training keeps, and its file."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from eaves.dataset_folder import Split
from eaves.errors import RunError
from trainer.data.splitting import SPLIT_FILE, EarlierSplit, SplitEntry, find_earlier, parse_lines, render_lines
from trainer.run.run_location import build_location
from trainer.settings import DataSettings, TrainSettings, build_config

DATA = "/photos"


def write_split(folder: Path, sides: Mapping[str, Split]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entries = [SplitEntry(digest=digest, label="a", split=side) for digest, side in sides.items()]
    (folder / SPLIT_FILE).write_text(render_lines(entries))


def write_run(folder: Path, created: str, sides: Mapping[str, Split], data: str = DATA) -> Path:
    write_split(folder, sides)
    (folder / "run.json").write_text(json.dumps({"created": created}))
    (folder / "config.json").write_text(json.dumps({"data": {"path": data}}))
    return folder


def find(output: str | Path, **changed: str | float) -> EarlierSplit:
    place, config = build_location(output, None), build_config(DataSettings(path=DATA), TrainSettings())
    for section in config.values():
        section |= {name: value for name, value in changed.items() if name in section}
    return find_earlier(config, run=place.run(), unfinished=place.unfinished(), beside=place.beside())


@pytest.mark.parametrize("uri", [False, True])
def test_the_newest_run_on_the_same_data_is_taken(tmp_path: Path, uri: bool):
    write_run(tmp_path / "z-oldest", "2026-01-01", {"aa": "train"})
    write_run(tmp_path / "a-newest", "2026-03-01", {"aa": "val"})
    write_run(tmp_path / "m-other", "2026-04-01", {"aa": "train"}, data="/elsewhere")
    (write_run(tmp_path / "n-before", "2026-05-01", {}) / SPLIT_FILE).unlink()
    write_split(tmp_path / "p-unfinished", {"aa": "train"})
    write_run(tmp_path / "q-damaged", "2026-06-01", {"aa": "train"})
    (tmp_path / "q-damaged" / "config.json").write_text("{")
    (tmp_path / "file").touch()
    found = find(f"file://{tmp_path}/new" if uri else tmp_path / "new")
    assert found.known == {"aa": "val"}
    assert found.origin.endswith("/a-newest")


def test_an_unfinished_run_continues_with_its_own(tmp_path: Path):
    write_run(tmp_path / "newer", "2026-03-01", {"aa": "val"})
    write_split(tmp_path / ".new.unfinished" / "checkpoints", {"aa": "train"})
    assert find(tmp_path / "new").known == {"aa": "train"}


def test_a_damaged_split_is_an_error_and_not_another_split(tmp_path: Path):
    write_run(tmp_path / "old", "2026-01-01", {"aa": "val"})
    (write_run(tmp_path / "newest", "2026-03-01", {}) / SPLIT_FILE).write_text("{")
    with pytest.raises(RunError, match=r"newest/split\.jsonl: line 1 can't be read"):
        find(tmp_path / "new")


def write_configured(folder: Path, seed: int = 0) -> Path:
    write_run(folder, "2026-03-01", {"aa": "val"})
    settings = {"data": {"path": DATA, "near_copies": "similar", "group_by": ""}}
    (folder / "config.json").write_text(json.dumps(settings | {"train": {"val_fraction": 0.2, "seed": seed}}))
    return folder


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("data.group_by", "name:(part[0-9]+)_", "data.group_by has changed from '' to 'name:(part[0-9]+)_'"),
        ("data.near_copies", "exact", "data.near_copies has changed from 'similar' to 'exact'"),
        ("train.val_fraction", 0.4, "train.val_fraction has changed from 0.2 to 0.4"),
    ],
)
def test_a_changed_setting_makes_a_new_split_and_says_so(tmp_path: Path, name: str, value: str | float, words: str):
    earlier = write_configured(tmp_path / "earlier", seed=7)
    assert find(tmp_path / "new").known == {"aa": "val"}
    found = find(tmp_path / "new", **{name.partition(".")[2]: value})
    assert (found.origin, found.known) == ("", {})
    assert f"the split is new, because {words} since {earlier} was trained" in found.note.replace("file://", "")
    assert found.note.endswith("earlier accuracies are not comparable with the new one")


def test_an_unfinished_run_is_compared_by_the_settings_beside_its_checkpoints(tmp_path: Path):
    checkpoints = tmp_path / ".new.unfinished" / "checkpoints"
    write_configured(checkpoints)
    (checkpoints / "run.json").unlink()
    assert find(tmp_path / "new").known == {"aa": "val"}
    assert find(tmp_path / "new", val_fraction=0.3).known == {}


ENTRIES = [
    SplitEntry(digest="bb", label="daisy", split="val", group="part07"),
    SplitEntry(digest="aa", label="tulips \udcff", split="train"),
]


def test_a_split_survives_writing_and_reading():
    text = render_lines(ENTRIES)
    assert parse_lines(text, "split.jsonl", SplitEntry) == {entry.digest: entry for entry in ENTRIES}


@pytest.mark.parametrize("line", ["{", '{"digest": "a"}', '{"digest": "a", "label": "b", "split": "test"}'])
def test_a_damaged_line_is_named(line: str):
    good = render_lines(ENTRIES[:1])
    with pytest.raises(RunError, match="line 2 can't be read") as caught:
        parse_lines(good + line + "\n", "runs/x/split.jsonl", SplitEntry)
    assert caught.value.message.startswith("runs/x/split.jsonl")

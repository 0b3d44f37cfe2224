"""What `eaves data check` finds in a folder of labelled images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from eaves.cli import cli
from eaves.errors import ConfigError
from eaves.recipe import Recipe
from tests.fakes.models.run import write_run
from trainer import check
from trainer.check import Inspection, inspect_data
from trainer.data.dataset import scan
from trainer.model.architectures import PRETRAINED
from trainer.progress import SilentProgress
from trainer.storage import open_store

NETWORK = "TensorFlow is imported, and a pretrained network is built and run"


def save(path: Path, seed: int, *, hue: int = 0, size: tuple[int, int] = (80, 60)) -> Path:
    """A picture like no other, of which channel `hue` is the brightest."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 110, (6, 8, 3))
    coarse[..., hue] += 140
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def fill(root: Path, count: int = 12) -> Path:
    for hue, label in enumerate(("red", "green", "blue")):
        for number in range(count):
            save(root / label / f"{number:02d}.png", 100 * hue + number, hue=hue)
    return root


def inspect(root: Path) -> Inspection:
    return inspect_data(root, features=open_store(root.parent / "features"), progress=SilentProgress())


def test_all_copies_are_reported_at_once_within_and_across_classes(tmp_path: Path):
    root = fill(tmp_path)
    for name in ("00", "01"):
        (root / f"green/copy-{name}.png").write_bytes((root / f"red/{name}.png").read_bytes())
    Image.open(root / "blue/03.png").save(root / "blue/again.jpg", quality=90)
    found = inspect(root)
    across = [set(group) for group in found.copies_across_classes]
    assert across == [{"green/copy-00.png", "red/00.png"}, {"green/copy-01.png", "red/01.png"}]
    assert [set(group) for group in found.copies] == [{"blue/03.png", "blue/again.jpg"}]
    assert len(found.problems) == 2
    assert all("the same image is in several classes" in problem for problem in found.problems)


@pytest.mark.long(NETWORK)
def test_a_wrong_label_is_doubted_and_it_ends_with_1_when_training_would_refuse(tmp_path: Path):
    root = fill(tmp_path / "photos")
    save(root / "green/wrong.png", 7777, hue=0)
    usable = CliRunner().invoke(cli, ["data", "check", str(root)], catch_exceptions=False)
    assert (usable.exit_code, "refuse" in usable.stdout) == (0, False)
    assert "doubtful label: green/wrong.png is labelled green, looks like red" in usable.stdout
    assert usable.stdout.count("doubtful label:") == 1
    (root / "white").mkdir()
    for form in ("table", "json"):
        assert CliRunner().invoke(cli, ["data", "check", str(root), "-o", form]).exit_code == 1


def test_good_photos_are_enough_for_a_model_that_finds_anomalies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = fill(tmp_path / "photos")
    for label in ("green", "blue"):
        shutil.rmtree(root / label)
    monkeypatch.chdir(tmp_path)
    for train, code in (("task: anomaly, good: red", 0), ("task: anomaly, good: ok", 1), ("task: classify", 1)):
        Path("eaves.yaml").write_text(f"name: parts\ndata: {{path: photos}}\ntrain: {{{train}}}\n")
        done = CliRunner().invoke(cli, ["data", "check"], catch_exceptions=False)
        assert (train, done.exit_code) == (train, code), done.output


def test_labels_are_judged_at_the_size_of_the_model_that_they_are_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Small defects that a network sees at 320 pixels may be invisible to it at its default of 224."""
    folder, sides = fill(tmp_path / "photos"), list[int]()
    monkeypatch.chdir(tmp_path)

    def judge(side: int) -> None:
        sides.append(side)
        raise ConfigError.single("test", "", "no network is needed here")

    monkeypatch.setattr(check, "compute_evened", lambda *_, side: judge(side))
    for train, arch in (("", ""), ("", "small_cnn"), ("", PRETRAINED), ("image_size: 448", "")):
        Path("eaves.yaml").write_text(f"name: parts\ndata: {{path: photos}}\ntrain: {{{train}}}\n")
        if arch:
            write_run(Path("runs") / arch, about={"arch": arch, "recipe": Recipe(height=320, width=320).to_dict()})
        CliRunner().invoke(cli, ["data", "check", str(folder)], catch_exceptions=False)
    assert sides == [0, 0, 320, 448]


@pytest.mark.long(NETWORK)
def test_labels_that_the_pictures_say_nothing_of_are_not_judged(tmp_path: Path):
    for number in range(40):
        save(tmp_path / "photos" / ("a" if number % 2 else "b") / f"{number}.png", number)
    found = inspect(tmp_path / "photos")
    assert found.judgement.startswith("labels are not judged: ")
    assert found.judgement.endswith(" or more), too close to what always naming a gives, 50%; more photos help")
    assert found.doubtful_labels == []


def write_dark(root: Path, count: int, most: int, start: int = 0) -> Path:
    """Grey photos in 16 bits, of which `most` is the brightest value."""
    for label in ("a", "b"):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            coarse = np.random.default_rng([ord(label), number]).integers(0, 255, (6, 8), dtype=np.uint8)
            values = np.asarray(Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC), dtype=float)
            grey = (values / values.max() * most).astype(np.uint16)
            Image.fromarray(grey).save(root / label / f"{number:02d}.png")
    return root


def test_12_bits_in_16_are_named(tmp_path: Path):
    """Such photos become 0 to 15 of 255, of which a network sees nothing."""
    root = write_dark(tmp_path / "photos", 12, 4095)
    sentence = "nearly black: the brightest pixel of 24 of 24 images is at most 15 of 255"
    assert any(note.startswith(sentence) for note in scan(root, val_fraction=0.2).notes)
    (root / "empty").mkdir()  # so that labels aren't judged, which takes seconds
    printed = CliRunner().invoke(cli, ["data", "check", str(root)], catch_exceptions=False)
    assert sentence in " ".join(printed.stdout.split())

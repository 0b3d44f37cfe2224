"""Manifests, archives, near copies, weights: what the data side does without a network."""

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eaves.base.locks import unfinished_folder
from eaves.errors import DatasetError
from tests.inputs.settings import settings_from
from tests.waiting import is_waited_for, wait_until
from trainer.data.dataset import Dataset, load_dataset, scan
from trainer.data.remote import redact_uri, unpack_once
from trainer.settings import DataSettings


def picture(seed: int, side: int = 96) -> Image.Image:
    """Like no other: eight by eight random patches, smoothly joined."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def fill(root: Path, *classes: str, count: int = 12, start: int = 0) -> Path:
    for index, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            data = encoded(picture(start + 1000 * index + number))
            (root / name / f"{number:02d}.jpg").write_bytes(data)
    return root


def load(path: str | Path, cache: Path, **values: object) -> Dataset:
    settings = settings_from(DataSettings, {"path": str(path), **values})
    return load_dataset(settings, val_fraction=0.3, seed=0, cache=cache)


def rows(folder: Path, root: Path) -> list[tuple[str, str]]:
    return [(file.relative_to(root).as_posix(), file.parent.name) for file in sorted(folder.rglob("*.jpg"))]


def write_csv(file: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    file.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return file


def zipped(folder: Path, file: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for entry in sorted(folder.rglob("*")):
            archive.write(entry, inside + entry.relative_to(folder).as_posix())
    return file


def test_a_folder_a_manifest_and_an_archive_are_the_same_data(tmp_path: Path):
    folder = fill(tmp_path / "photos", "daisy", "rose")
    named = rows(folder, tmp_path)
    as_csv = write_csv(tmp_path / "m.csv", ["path,label", *(f"{path},{label}" for path, label in named)])
    packed = zipped(folder, tmp_path / "photos.zip", inside="photos/")
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname=".")
    places = (folder, f"file://{folder}", as_csv, packed, tmp_path / "photos.tar.gz")
    loaded = [load(place, tmp_path / "cache") for place in places]
    assert len({dataset.digest() for dataset in loaded}) == 1
    assert all(dataset.labels == ("daisy", "rose") and not dataset.faults for dataset in loaded)
    assert all(item.path.relative_to(dataset.root) for dataset in loaded for item in dataset.examples)


def test_a_manifest_declares_a_split(tmp_path: Path):
    fill(tmp_path, "daisy", "rose", count=4)
    lines = [f"{path},{label},{'val' if '03' in path else 'train'}" for path, label in rows(tmp_path, tmp_path)]
    dataset = scan(write_csv(tmp_path / "m.csv", ["path,label,split", *lines]), val_fraction=0.9)
    assert dataset.declared
    assert dataset.counts("val") == {"daisy": 1, "rose": 1}
    assert dataset.counts("train") == {"daisy": 3, "rose": 3}


def test_missing_files_and_repeated_rows_of_a_manifest_are_listed(tmp_path: Path):
    fill(tmp_path, "daisy", "rose")
    lines = [f"{path},{label}" for path, label in rows(tmp_path, tmp_path)]
    too_long = f"daisy/{'n' * 5000}.jpg"
    lines += ["daisy/gone.jpg,daisy", lines[0], "daisy/notes.txt,daisy", f"{too_long},daisy"]
    dataset = scan(write_csv(tmp_path / "m.csv", ["path,label", *lines]), val_fraction=0.3)
    faults = {fault.file: fault for fault in dataset.faults}
    assert len(dataset.examples) == 24
    assert faults["daisy/gone.jpg"].reason == "line 26 of m.csv names the file, but it does not exist"
    assert faults[too_long].reason == "line 29 of m.csv names the file, but it does not exist"
    assert "daisy/00.jpg" not in faults, "a repeated row is no fault"
    assert "does not end in" in faults["daisy/notes.txt"].reason


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label", "a/1.jpg,"], r"line 2: a/1\.jpg has no label"),
        (["path,label,split", "a/1.jpg,rose,test"], r"line 2: split must be train or val \(got 'test'\)"),
        (["path,label,split", "a/1.jpg,rose,val", "a/2.jpg,rose,"], "line 3 has no split, but other lines have one"),
        (["path,label", "../1.jpg,rose"], "not below the manifest's folder"),
        (["path,label", "a/1.jpg,rose", "a/1.jpg,daisy"], "line 3: a/1.jpg has another label or split in line 2"),
        (["file,class", "a/1.jpg,rose"], "no column path or label; its first line is: file, class"),
        (["path,label", *["x.jpg,"] * 9], "and 4 more"),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(DatasetError, match=message):
        scan(write_csv(tmp_path / "m.csv", lines), val_fraction=0.3)


def test_an_archive_is_unpacked_once_and_again_when_it_changes(tmp_path: Path):
    archive = zipped(fill(tmp_path / "photos", "a", "b", count=2), tmp_path / "photos.zip")
    first = unpack_once(archive, tmp_path / "cache", limit_bytes=10**9)
    (first / "marker").touch()
    assert (unpack_once(archive, tmp_path / "cache", limit_bytes=10**9) / "marker").exists()
    zipped(fill(tmp_path / "photos", "a", "b", count=3), archive)
    again = unpack_once(archive, tmp_path / "cache", limit_bytes=10**9)
    assert len(list(again.rglob("*.jpg"))) == 6
    assert not first.exists()


def hostile_zip(name: str, mode: int = 0o100644) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "../../etc")
        return folder / "x.zip"

    return make


def hostile_tar(name: str, kind: bytes = tarfile.REGTYPE) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with tarfile.open(folder / "x.tar", "w") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        return folder / "x.tar"

    return make


@pytest.mark.parametrize(
    "make",
    [
        hostile_zip("a/../../up.jpg"),
        hostile_zip("/up.jpg"),
        hostile_zip("a/link.jpg", 0o120777),
        hostile_tar("/up.jpg"),
        hostile_tar("a/link.jpg", tarfile.SYMTYPE),
        hostile_tar("a/pipe", tarfile.FIFOTYPE),
    ],
)
def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, make: Callable[[Path], Path]):
    with pytest.raises(DatasetError, match=r"not below the archive's root|is a link"):
        load(make(tmp_path), tmp_path / "cache")
    assert not list(tmp_path.rglob("up.jpg"))
    assert not list(tmp_path.rglob("link.jpg"))


def zip_of(*names: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        return folder / "x.zip"

    return make


def zip_with_a_name_that_is_not_utf_8(folder: Path) -> Path:
    file = zip_of("a/éé.jpg")(folder)
    file.write_bytes(file.read_bytes().replace("éé".encode(), b"\xc3\x28\xc3\xa9"))
    return file


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (zip_of("a/1.jpg", f"a/{'n' * 300}.jpg"), "can't unpack x.zip: File name too long"),
        (zip_of("a/1.jpg", "a/1.jpg/2.jpg"), "can't unpack x.zip: Not a directory"),
        (zip_with_a_name_that_is_not_utf_8, r"can't unpack x.zip: .* can't decode"),
    ],
)
def test_an_archive_with_an_impossible_name_is_refused_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], Path], message: str
):
    with pytest.raises(DatasetError, match=message) as caught:
        load(make(tmp_path), tmp_path / "cache")
    assert caught.value.exit_code == 65
    assert caught.value.hint
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() or "unfinished" in path.name]


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/zeros.jpg", bytes(50_000_000))
    with pytest.raises(DatasetError, match=r"more than 0\.01 GB"):
        load(tmp_path / "bomb.zip", tmp_path / "cache", unpacked_gb=0.01)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_damaged_archive(tmp_path: Path, suffix: str):
    (tmp_path / f"damaged{suffix}").write_bytes(b"no archive at all" * 99)
    with pytest.raises(DatasetError, match="can't unpack"):
        load(tmp_path / f"damaged{suffix}", tmp_path / "cache")
    with pytest.raises(DatasetError, match="can't read the archive"):
        load(tmp_path / f"nowhere{suffix}", tmp_path / "cache")


def test_an_address_is_kept_without_its_password_and_only_known_kinds_are_read(tmp_path: Path):
    settings = DataSettings(path="https://me:secret@host/a.zip?X-Amz-Signature=1")
    assert settings.to_dict()["path"] == "https://host/a.zip"
    assert redact_uri("s3://bucket/what?") == "s3://bucket/what?"
    for uri in ("ftp://host/x.zip", "zip::http://host/x.zip", "simplecache::s3://b/x"):
        with pytest.raises(DatasetError, match="can't be read from"):
            load(uri, tmp_path)


def test_a_second_training_waits_for_the_one_that_unpacks_the_same_archive(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("rose/1.jpg", b"x")

    def unpack() -> Path:
        return unpack_once(tmp_path / "photos.zip", tmp_path / "cache", limit_bytes=10**6)

    target = unpack()
    shutil.rmtree(target)
    with ThreadPoolExecutor(1) as pool:
        with unfinished_folder(target) as work:
            second = pool.submit(unpack)
            wait_until(lambda: is_waited_for(work), what="the second training")
            (work / "files" / "rose").mkdir(parents=True)
            (work / "files" / "rose" / "by the first.jpg").touch()
            (work / "files").rename(target)
        assert [file.name for file in second.result().rglob("*.jpg")] == ["by the first.jpg"]
    assert list(target.parent.iterdir()) == [target]

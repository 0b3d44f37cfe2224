"""An archive that several trainings unpack into one cache."""

from __future__ import annotations

import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eaves.base.locks import unfinished_folder
from tests.waiting import is_waited_for, wait_until
from trainer.data.remote import unpack_once


def test_a_second_training_waits_for_the_one_that_unpacks_the_same_archive(tmp_path: Path) -> None:
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

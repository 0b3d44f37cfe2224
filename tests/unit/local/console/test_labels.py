from contextlib import closing
from pathlib import Path

import pytest

from eaves.local.console import LocalBackend
from eaves.local.state import StateDirectory


@pytest.mark.parametrize(
    ("path", "folder"), [("pictures", "pictures"), ("", "photos"), ("s3://bucket/photos", None), ("all.csv", None)]
)
def test_the_labels_are_those_of_the_folder_that_the_project_names(tmp_path: Path, path: str, folder: str | None):
    (tmp_path / "all.csv").touch()
    (tmp_path / "eaves.yaml").write_text(f"name: flowers\n{f'data: {{path: {path}}}' if path else ''}\n")
    with closing(LocalBackend(StateDirectory(root=tmp_path / "state"), tmp_path)) as backend:
        book = backend.labels
        assert (None if book is None else book.folder) == (None if folder is None else tmp_path / folder)
        assert backend.labels is book, "the listing of the folder is kept between requests"

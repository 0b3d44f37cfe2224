"""The cache of what tests train: nothing stale and nothing incomplete is used, and nothing stays for good."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.once import IS_CHECKOUT, ROOT, build_in_cache, find_code

pytestmark = pytest.mark.skipif(not IS_CHECKOUT, reason="an installed wheel: its code isn't beside the tests")


class Builder:
    """Builds a folder with one file, and counts."""

    def __init__(self, content: str = "weights") -> None:
        self.content = content
        self.count = 0

    def build(self, folder: Path) -> Path:
        """Build."""
        self.count += 1
        assert list(folder.iterdir()) == []
        (folder / "run").mkdir()
        (folder / "run/model").write_text(self.content)
        return folder / "run"


@pytest.fixture
def builder() -> Builder:
    return Builder()


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.with_suffix(".json").unlink(),
        lambda entry: (entry / "run/model").write_text("weight?"),
        lambda entry: (entry / "run/model").unlink(),
    ],
    ids=["no record", "changed", "missing"],
)
def test_an_entry_that_is_incomplete_or_changed_is_built_again(
    tmp_path: Path, builder: Builder, damage: Callable[[Path], object]
):
    made = build_in_cache(tmp_path, builder.build)
    damage(made.parent)
    assert build_in_cache(tmp_path, builder.build) == made
    assert (made / "model").read_text() == "weights"
    assert builder.count == 2


def test_other_inputs_are_another_entry(tmp_path: Path, builder: Builder):
    photos = tmp_path / "photos"
    for folder in (photos, tmp_path / "cache"):
        folder.mkdir()
    found = []
    for content in ("a", "b", "a"):
        (photos / "1.png").write_text(content)
        found.append(build_in_cache(tmp_path / "cache", builder.build, photos))
    assert found[0] == found[2] != found[1]
    assert builder.count == 2


def test_the_code_that_decides_a_model_is_all_that_trains_and_converts_it():
    found = {str(path.relative_to(ROOT)) for path in find_code("tests.inputs.artifacts")}
    code = {"trainer/train.py", "trainer/model/fit.py", "converters/convert.py", "eaves/recipe.py"}
    assert {*code, "trainer/run/report.html.j2", "tests/inputs/artifacts.py", "requirements/dev.txt"} <= found
    assert not [path for path in found if path.startswith(("eaves/spool/", "eaves/local/", "knative/"))]

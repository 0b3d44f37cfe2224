"""ARCHITECTURE.md's rooms are there; a package's map names its modules."""

import re
from pathlib import Path
from types import ModuleType

import pytest

import knative
from eaves import rollout as judge
from knative import resources, rollout

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()


def test_it_is_short():
    assert len(PAGE.splitlines()) <= 200


def test_every_room_is_there_and_what_to_read_first_in_it():
    table = PAGE.partition("| room |")[2].partition("\n\n")[0]
    for row in table.splitlines()[2:]:
        rooms, _, first = (cell.strip() for cell in row.strip("|").rsplit("|", 2))
        names = re.findall(r"`([^`]+)`", rooms.partition("|")[0])
        assert all((ROOT / name).exists() for name in names), row
        for file in re.findall(r"`([^`]+)`", first):
            assert any((ROOT / name / file).exists() for name in names), row


@pytest.mark.parametrize("package", [knative, resources, rollout, judge], ids=lambda package: package.__name__)
def test_a_map_names_every_module(package: ModuleType):
    (folder,) = package.__path__
    found = (path for path in Path(folder).iterdir() if path.suffix == ".py" or any(path.glob("*.py")))
    modules = {path.stem for path in found if not path.name.startswith("__")}
    reported = set(re.findall(r"[a-z_]+", str(package.__doc__)))
    assert modules - reported == set()

"""pyproject.toml, the locks made from it and the names the wheel takes agree with each other."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("eaves", "trainer", "converters", "functions", "knative")
BESIDE_AGENT = {"rich", "pyyaml", "numpy", "click", "cloudevents", "paho-mqtt", "pillow"}
LOCKS = {  # lock: what it is made from, and what of that the container image leaves out on purpose
    "build.txt": ([], {"rich", "pyyaml", "click", "cloudevents", "numpy", "pillow", "paho-mqtt"}),
    "bench.txt": ([], {"rich", "pyyaml", "click", "cloudevents", "paho-mqtt"}),
    "serve.txt": (["serve"], {"rich", "pyyaml", "paho-mqtt"}),
    "agent.txt": (["sources"], {"rich", "pyyaml", "numpy"}),
    "agent-camera.txt": (["camera"], BESIDE_AGENT),
    "agent-s3.txt": (["s3"], BESIDE_AGENT),
    "console.txt": (["console", "cluster"], {"rich", "numpy", "paho-mqtt"}),
    "train.txt": (["train", "convert", "oci"], set()),
    "dev.txt": (
        ["serve", "sources", "train", "s3", "convert", "console", "cluster", "oci", "demo", "camera"],
        set(),
    ),
}
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; [^\\]+)? \\$", re.MULTILINE)


def load_project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def read_lock(name: str) -> str:
    path = ROOT / "requirements" / name
    if not path.exists():
        pytest.skip(f"{path} is not there: this is not the source tree")
    return path.read_text()


def pins(name: str) -> dict[str, str]:
    return dict(PINNED.findall(read_lock(name)))


def test_every_runtime_dependency_says_why_it_is_there():
    project = load_project()["project"]
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    runtime = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    for dependency in set(runtime):
        found = [line for line in lines if line.strip().startswith(f'"{dependency}",')]
        assert found, dependency
        for line in found:
            assert len(line.partition("#")[2].split()) >= 3, f"no reason beside {line.strip()}"


def test_a_lock_names_no_index_and_no_machine_and_has_hashes():
    for name in LOCKS:
        text = read_lock(name)
        options = [line for line in text.splitlines() if line.lstrip().startswith("-") and "--hash=sha256:" not in line]
        assert (options, "://" in text, "make lock" in text.splitlines()[1]) == ([], False, True), name
        blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert blocks
        for block in blocks:
            assert PINNED.match(block), block.splitlines()[0]
            assert re.search(r"^    --hash=sha256:[0-9a-f]{64}", block, re.MULTILINE), block.splitlines()[0]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_fresh(name: str):
    """Every dependency pyproject.toml declares is pinned, at a version it allows."""
    project, (extras, omitted) = load_project(), LOCKS[name]
    wanted = [*project["project"]["dependencies"]]
    wanted += [one for extra in extras for one in project["project"]["optional-dependencies"][extra]]
    groups = {"dev.txt": ["build", "dev"], "build.txt": ["build"], "bench.txt": ["bench"]}.get(name, [])
    wanted += [one for group in groups for one in project["dependency-groups"][group] if isinstance(one, str)]
    locked = pins(name)
    assert omitted.isdisjoint(locked)
    for requirement in map(Requirement, wanted):
        key = canonicalize_name(requirement.name)
        if key not in omitted:
            assert key in locked, f"{key}: run make lock"
            assert requirement.specifier.contains(locked[key]), f"{key} {locked[key]}: run make lock"


def test_dev_holds_every_extra():
    assert set(LOCKS["dev.txt"][0]) == set(load_project()["project"]["optional-dependencies"])


def test_roles_run_the_versions_that_were_tested():
    tested = pins("dev.txt")
    for name in LOCKS.keys() - {"bench.txt"}:
        assert {key: version for key, version in pins(name).items() if tested.get(key) != version} == {}, name


def test_every_top_level_name_of_the_wheel_is_ours_alone():
    """Other distributions bring a `trainer` or `functions` too, and the one installed last would win."""
    assert load_project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)
    owners = packages_distributions()
    for name in PACKAGES:  # an editable install lists no top-level names
        assert set(owners.get(name, ["eaves"])) == {"eaves"}, name


def test_every_room_of_eaves_has_its_layer():
    """import-linter says nothing about a module that no layer names."""
    if not (ROOT / "eaves").is_dir():
        pytest.skip("the packages are not beside the tests: this is not the source tree")
    layers = load_project()["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = {name for layer in layers for name in re.findall(r"[a-z_.]+", layer)}
    rooms = {
        path.stem for path in (ROOT / "eaves").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {f"eaves.{room}" for room in rooms - {"__init__"}} <= placed
    assert set(PACKAGES) - {"eaves"} <= placed

"""The state directory's spec files: read one by one, so that a broken one breaks no other."""

import json
from pathlib import Path

import pytest

from eaves.local.state import LocalApp, LocalFunction, StateDirectory


def app(name: str, version: str = "1") -> LocalApp:
    return LocalApp(function=LocalFunction(name=name, site="s", artifact=Path("/artifact"), env={"VERSION": version}))


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(root=tmp_path / "state")
    made.prepare()
    return made


@pytest.mark.parametrize(
    "text",
    ["", "[" * 100_000, '{"function": []}'],
    ids=lambda text: text[:20],
)
def test_a_spec_that_can_not_be_read_is_named_and_the_others_are_read(state: StateDirectory, text: str):
    state.write_spec(app("good"))
    (state.specs / "bad.json").write_text(text)
    apps, faults = state.read_specs()
    assert apps == {"good": app("good")}
    assert list(faults) == ["bad"]


def test_a_spec_under_another_name_is_refused(state: StateDirectory):
    (state.specs / "a.json").write_text(json.dumps(app("../../b").to_dict()))
    apps, faults = state.read_specs()
    assert apps == {}
    assert "must be 'a', the name of the file (got '../../b')" in faults["a"]


def deployed(name: str, digest: str) -> LocalApp:
    return LocalApp(function=LocalFunction(name=name, site="s", artifact=Path("/artifact"), artifact_digest=digest))


def test_prepared_graphs_are_kept_for_the_deployed_and_the_previous_artifact(state: StateDirectory):
    def kept() -> set[str]:
        return {path.name[0] for path in state.graphs.glob("[!.]*")}

    for digest in "abcd":
        (state.graphs / f"{digest * 64}-avx2-onnxruntime-1.0").mkdir(parents=True)
    state.write_spec(deployed("other", "d" * 64))
    assert kept() == {"d"}
    for digest in "abc":
        (state.graphs / f"{digest * 64}-avx2-onnxruntime-1.0").mkdir()
        state.write_spec(deployed("flowers", digest * 64))
    assert kept() == {"b", "c", "d"}
    state.roll_back("flowers")
    assert kept() == {"b", "c", "d"}
    state.remove_spec("flowers")
    assert kept() == {"d"}

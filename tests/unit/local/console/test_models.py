from __future__ import annotations

import os
from pathlib import Path

import pytest

from eaves.local.console import ARTIFACT, MARKERS, RUN, list_models
from eaves.local.state import LocalApp, LocalFunction, StateDirectory


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(root=tmp_path / "project/.eaves")
    made.prepare()
    return made


@pytest.fixture
def project(state: StateDirectory) -> Path:
    return state.root.parent


def make(folder: Path, kind: str, *, at: float = 1_000.0) -> Path:
    folder.mkdir(parents=True)
    marker = folder / MARKERS[kind]
    marker.write_text("{}")
    os.utime(marker, (at, at))
    return folder


def app(name: str, artifact: Path) -> LocalApp:
    return LocalApp(function=LocalFunction(name=name, site="s", artifact=artifact))


def test_runs_and_artifacts_of_the_project_are_found_newest_first(state: StateDirectory, project: Path) -> None:
    run = make(project / "runs/flowers-1", RUN, at=2_000)
    artifact = make(project / "artifacts/flowers-1", ARTIFACT, at=3_000)
    make(project / "runs/.flowers-2.unfinished", RUN)
    (project / "runs/notes").mkdir()
    (project / "runs/latest").symlink_to("flowers-1")
    found = list_models(state, project)
    assert [(one.kind, one.name, one.path) for one in found] == [
        (ARTIFACT, "flowers-1", artifact),
        (RUN, "flowers-1", run),
    ]


def test_served_and_previous_artifacts_are_marked_and_their_siblings_are_found(
    state: StateDirectory, project: Path, tmp_path: Path
) -> None:
    old, new, other = (make(tmp_path / f"elsewhere/{name}", ARTIFACT) for name in ("a1", "a2", "a3"))
    for name in ("flowers", "weeds"):
        state.write_spec(app(name, old))
    for name in ("flowers", "weeds"):
        state.write_spec(app(name, new))
    found = {one.path: one for one in list_models(state, project)}
    assert [(one.functions, one.previous_of) for one in (found[new], found[old], found[other])] == [
        (("flowers", "weeds"), ()),
        ((), ("flowers", "weeds")),
        ((), ()),
    ]


def test_directories_of_the_same_name_get_different_names_that_stay(
    state: StateDirectory, project: Path, tmp_path: Path
) -> None:
    first = make(project / "artifacts/flowers", ARTIFACT)
    second = make(tmp_path / "elsewhere/flowers", ARTIFACT)
    state.write_spec(app("flowers", second))
    found = {one.path: one.name for one in list_models(state, project)}
    assert found[first] != found[second]
    assert all(name.startswith("flowers-") for name in found.values())
    assert {one.path: one.name for one in list_models(state, project)} == found

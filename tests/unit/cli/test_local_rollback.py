"""`eaves rollback` on this machine prints what the rollback changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from eaves.cli import cli
from eaves.local.specs import LocalApp, LocalFunction
from eaves.local.state import StateDirectory
from eaves.platform import ScaleSettings, default_trigger

APP = LocalApp(function=LocalFunction(name="flowers", site="home", artifact=Path("/a")))


def roll_back(root: Path, *apps: LocalApp) -> str:
    state = StateDirectory(root=root)
    for app in apps:
        state.write_spec(app)
    return CliRunner().invoke(cli, ["rollback", "flowers", "--state", str(root)], catch_exceptions=False).stderr


def test_a_rollback_of_settings_says_so(tmp_path: Path) -> None:
    function = replace(APP.function, scale=ScaleSettings(max=2), env={"EAVES_TOP_K": "2"})
    changed = replace(APP, function=function, triggers=(default_trigger("flowers"),))
    assert roll_back(tmp_path, APP, changed) == "flowers serves the same artifact with its previous settings\n"


def test_a_rollback_to_another_artifact_names_the_artifact(tmp_path: Path) -> None:
    changed = replace(APP, function=replace(APP.function, artifact=Path("/b")))
    assert roll_back(tmp_path, APP, changed) == "flowers serves the previous artifact\n"

"""`eaves settings`: every setting of eaves.yaml with its meaning, type, default and variable."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.cli.project import Project
from eaves.config import iter_leaves
from eaves.errors import NotFoundError
from eaves.local.settings import LocalSettings
from eaves.sources.kind import OWN


def settings(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["settings", *arguments], prog_name="eaves")


def listed(*arguments: str) -> list[dict[str, Any]]:
    result = settings(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_every_setting_of_eaves_yaml_is_explained() -> None:
    found = {item["setting"]: item for item in listed()}
    lists = ("triggers", "sources", "sites")
    wanted = [leaf for leaf in iter_leaves(Project) if leaf.path not in lists] + [*iter_leaves(LocalSettings, "up.")]
    assert [leaf.path for leaf in wanted if leaf.path not in found] == []
    assert [leaf.path for leaf in wanted if not found[leaf.path]["doc"] or not found[leaf.path]["type"]] == []
    assert found["triggers.url"]["doc"]
    assert all(listed(f"sources.{kind}") for kind in OWN)


def test_a_setting_has_all_that_a_person_needs() -> None:
    doc = next(leaf.doc for leaf in iter_leaves(Project) if leaf.path == "scale.idle_s")
    assert listed("scale.idle_s") == [
        {
            "section": "scale",
            "setting": "scale.idle_s",
            "doc": doc,
            "type": "SECONDS 0.5<=x<=3600",
            "default": "60.0",
            "variable": "EAVES_SCALE_IDLE_S",
        }
    ]
    assert listed("sources.folder")[0]["variable"] == ""


def test_sections_and_the_settings_of_one_are_sentences() -> None:
    output = settings().stdout
    assert "\ntrain: Training of the model.\n" in output
    assert "\nup: Settings of `eaves up`" in output
    assert any(line.startswith("train.epochs: ") for line in settings("train").stdout.splitlines())


def test_an_unknown_name_is_an_error() -> None:
    error = settings("trian").exception
    assert isinstance(error, NotFoundError)
    assert error.message == "'trian' is neither a section nor a setting of eaves.yaml"

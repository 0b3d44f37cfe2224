"""`eaves settings`: every setting of eaves.yaml with its meaning, type, unit, default, flag and variable."""

from __future__ import annotations

import json
import re
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.cli.app.project import Project
from eaves.config import SettingsLayer, build, iter_leaves
from eaves.errors import ConfigError, NotFoundError
from eaves.local.settings import LocalSettings
from eaves.sources.folder.kind import FolderSourceSettings
from eaves.sources.kind import OWN
from trainer.settings import TrainSettings


def settings(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["settings", *arguments], prog_name="eaves")


def listed(*arguments: str) -> list[dict[str, Any]]:
    result = settings(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_every_setting_of_eaves_yaml_is_explained() -> None:
    found = {item["setting"]: item for item in listed()}
    listed_sections = ("triggers", "sources", "sites")
    wanted = [leaf for leaf in iter_leaves(Project) if leaf.path not in listed_sections]
    wanted += [*iter_leaves(FolderSourceSettings, "sources."), *iter_leaves(LocalSettings, "up.")]
    assert [leaf.path for leaf in wanted if leaf.path not in found] == []
    assert [leaf.path for leaf in wanted if not found[leaf.path]["doc"] or not found[leaf.path]["type"]] == []
    assert found["triggers.url"]["doc"]


def test_every_kind_of_source_of_ours_is_explained() -> None:
    for kind in OWN:
        assert listed(f"sources.{kind}"), kind
        assert f"`{kind}`" in listed("sources.kind")[0]["doc"]


def test_a_setting_has_all_that_a_person_needs() -> None:
    assert listed("scale.idle_s") == [
        {
            "section": "scale",
            "setting": "scale.idle_s",
            "doc": next(leaf.doc for leaf in iter_leaves(Project) if leaf.path == "scale.idle_s"),
            "type": "number",
            "range": "0.5 to 3600",
            "minimum": 0.5,
            "maximum": 3600,
            "unit": "seconds",
            "default": 60.0,
            "required": False,
            "flag": "",
            "variable": "EAVES_SCALE_IDLE_S",
        }
    ]


def test_every_flag_that_is_named_is_one() -> None:
    flags = [item["flag"] for item in listed() if item["flag"]]
    assert {flag.split()[1] for flag in flags} == {"train", "convert", "pipeline", "up"}
    missing = []
    for flag in flags:
        _, name, option = flag.split()
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        known = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
        missing += [flag for text in (option.replace("[no-]", ""), option.replace("[no-]", "no-")) if text not in known]
    assert missing == []


def test_every_type_and_unit_is_a_word_of_the_field() -> None:
    found = listed()
    kinds = {item["type"] for item in found if not item["type"].startswith(("one of ", "any of "))}
    assert kinds <= {
        "text", "integer", "number", "true or false", "path", "path or URI", "list of texts", "list of mappings",
        "mapping",
    }  # fmt: skip
    units = {item["setting"]: item["unit"] for item in found if item["unit"]}
    assert units["relay.rate_bytes"] == "bytes per second"
    assert units["function.max_body_bytes"] == "bytes"
    assert units["convert.timeout_s"] == "seconds"
    unclear = [item["setting"] for item in found if item["setting"].endswith("_s") and not item["unit"]]
    assert unclear == []


def test_without_a_section_each_one_is_named_with_what_it_sets() -> None:
    output = settings().stdout
    for name in ("data", "train", "triggers", "sources", "sources.folder", "relay", "knative", "up"):
        assert re.search(rf"^ ?{re.escape(name)} +\d+ ", output, re.MULTILINE), name
    assert "eaves settings SECTION" in output


def test_a_section_is_printed_for_people() -> None:
    lines = settings("train").stdout.splitlines()
    start = lines.index("train.epochs")
    block = lines[start : lines.index("", start)]
    assert "    type:     integer >= 0" in block
    assert "    default:  0" in block
    assert "    flag:     eaves train --epochs" in block
    assert "    variable: EAVES_TRAIN_EPOCHS" in block
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("train.epochs", "type:     integer >= 0"),
        ("train.batch_size", "type:     integer 1 to 4096"),
        ("scale.idle_s", "type:     number 0.5 to 3600, in seconds"),
        ("up.spool_max_bytes", "type:     integer >= 1000000, in bytes"),
        ("train.arch", "type:     one of efficientnet_lite0, "),
        ("data.path", "type:     path or URI"),
    ],
)
def test_a_number_is_printed_with_its_range(name: str, line: str) -> None:
    assert [row for row in settings(name).stdout.splitlines() if row.strip().startswith(line)] != []


def test_every_range_is_that_which_is_checked() -> None:
    ranges = {leaf.path: leaf for leaf in iter_leaves(TrainSettings) if leaf.range}
    assert len(ranges) >= 9
    for path, leaf in ranges.items():
        for limit, beyond, sign in ((leaf.minimum, -1, ">="), (leaf.maximum, 1, "<=")):
            if limit is None:
                continue
            assert str(limit) in leaf.range
            with pytest.raises(ConfigError, match=f"{path}: must be {sign} "):
                build(TrainSettings, SettingsLayer(origin="test", values={path: limit + beyond}))


def test_a_section_of_sources_names_those_of_each_kind() -> None:
    output = settings("sources").stdout
    assert "sources.kind" in output
    assert "sources.polling" not in output
    assert "eaves settings sources.folder: " in output
    assert "sources.polling" in settings("sources.folder").stdout


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("trian", "eaves settings train"),
        ("train.epoch", "eaves settings train.epochs"),
        ("epochs", "eaves settings train.epochs"),
        ("zzz", "one of these sections: data, train,"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    error = settings(name).exception
    assert isinstance(error, NotFoundError)
    assert error.message == f"{name!r} is neither a section nor a setting of eaves.yaml"
    assert error.hint is not None
    assert error.hint.startswith(hint)

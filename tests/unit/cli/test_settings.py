"""`eaves settings`: every setting of eaves.yaml with its meaning, type, default and variable."""

from __future__ import annotations

from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.cli.project import Project
from eaves.config import iter_leaves
from eaves.errors import NotFoundError
from eaves.sources.kind import KINDS


def settings(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["settings", *arguments], prog_name="eaves")


def test_every_setting_of_eaves_yaml_is_explained() -> None:
    lines = settings().stdout.splitlines()
    named = {line.partition(": ")[0] for line in lines}
    wanted = {leaf.path for leaf in iter_leaves(Project)} - {"triggers", "sources", "sites"}
    assert wanted | {"triggers.url", "sites.context"} <= named
    assert [line for line in lines if line.endswith("]") and "default: " in line] == lines
    assert [kind for kind in KINDS.names() if not any(name.startswith(f"sources.{kind}.") for name in named)] == []


def test_a_section_and_one_setting_have_all_that_a_person_needs() -> None:
    doc = next(leaf.doc for leaf in iter_leaves(Project) if leaf.path == "scale.idle_s")
    line = f"scale.idle_s: {doc} [SECONDS; 0.5<=x<=3600; default: 60.0; EAVES_SCALE_IDLE_S]"
    assert settings("scale.idle_s").stdout.splitlines() == [line]
    assert line in settings("scale").stdout.splitlines()
    assert "EAVES_" not in settings("sources.folder.poll_s").stdout


def test_an_unknown_name_is_an_error() -> None:
    error = settings("trian").exception
    assert isinstance(error, NotFoundError)
    assert error.message == "eaves.yaml has no section or setting 'trian'"

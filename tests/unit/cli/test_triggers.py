"""Triggers of eaves.yaml as this machine runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eaves.cli.app.project import Project, Workspace
from eaves.cli.app.triggers import resolve_triggers
from eaves.config import SettingsLayer, build
from eaves.errors import ConfigError


def workspace(folder: Path, *triggers: dict[str, Any]) -> Workspace:
    values = {"data": {"path": "."}, "triggers": [{"name": f"t{number}", **one} for number, one in enumerate(triggers)]}
    project = build(Project, SettingsLayer(origin="eaves.yaml", values=values))
    return Workspace(root=folder, project=project, origin="eaves.yaml")


def test_a_folder_of_credentials_is_beside_eaves_yaml(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()

    (trigger,) = resolve_triggers(workspace(tmp_path, {"url": "mqtt://hub/a", "mqtt": {"credentials": "keys"}}))

    assert trigger.mqtt.credentials == tmp_path / "keys"


def test_every_folder_of_credentials_that_can_not_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/tls.crt").touch()
    folders = [{"url": "mqtt://hub/a", "mqtt": {"credentials": name}} for name in ("none", "keys")]

    with pytest.raises(ConfigError) as caught:
        resolve_triggers(workspace(tmp_path, *folders))

    assert [fault.path for fault in caught.value.faults] == [
        "triggers[0].mqtt.credentials",
        "triggers[1].mqtt.credentials",
    ]
    assert "is not a folder" in caught.value.message
    assert "both tls.crt and tls.key, or neither" in caught.value.message


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("mqtt://user:geheim@hub/a", "set `mqtt: {credentials: FOLDER}`"),
        ("http://hub/a?token=geheim", "a deployment to a cluster refuses it"),
    ],
)
def test_a_password_in_an_address_works_with_a_warning_that_names_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, advice: str
) -> None:
    (trigger,) = resolve_triggers(workspace(tmp_path, {"url": url}))

    reported = capsys.readouterr().err
    assert trigger.url == url
    assert "warning: eaves.yaml: triggers[0].url holds a password or token; " in reported
    assert advice in reported
    assert "geheim" not in reported


def test_an_attribute_that_no_event_has_works_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolve_triggers(workspace(tmp_path, {"url": "http://hub/a"}, {"url": "mqtt://hub/plant/{camera}/{label}"}))

    assert capsys.readouterr().err == (
        "warning: eaves.yaml: triggers[1].url: an event of Eaves has no attribute camera; did you mean partitionkey?\n"
    )


def test_two_triggers_do_not_both_tell_home_assistant(tmp_path: Path) -> None:
    both = [{"url": f"mqtt://hub/{topic}", "mqtt": {"home_assistant": True}} for topic in "ab"]

    with pytest.raises(ConfigError, match="home_assistant is set for more than one trigger"):
        workspace(tmp_path, *both)

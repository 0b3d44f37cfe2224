"""The section `relay` of eaves.yaml, and `through`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.cli.app import build_local_app, build_site_app, resolve_relay, warn_of_attributes
from eaves.cli.project import load_workspace
from eaves.errors import ConfigError
from eaves.platform.triggers import matches_all
from knative.inventory import FunctionImage
from knative.settings import SiteSettings
from tests.fakes.models.artifact import write_colours

TO = "https://cloud.example:8443"


def write(folder: Path, **values: Any) -> Path:
    path = folder / "eaves.yaml"
    path.write_text(yaml.safe_dump({"name": "flowers", "data": {"path": "photos"}, **values}))
    return path


def faults(folder: Path, **values: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        load_workspace(write(folder, **values))
    return {fault.path: fault.message for fault in error.value.faults}


def test_nothing_else_is_named_like_the_relay(tmp_path: Path):
    trigger = {"name": "relay", "url": "http://alarm.example/"}
    source = {"name": "relay", "path": "inbox"}
    found = faults(tmp_path, relay={"to": TO}, triggers=[trigger], sources=[source])
    assert found.keys() == {"triggers", "sources"}
    load_workspace(write(tmp_path, triggers=[trigger], sources=[source]))


def test_every_fault_of_the_section_is_reported(tmp_path: Path):
    found = faults(
        tmp_path, relay={"to": TO, "images": "some", "rate_bytes": -1, "spool_size": "much", "secret": "A b"}
    )
    assert found.keys() == {"relay.images", "relay.rate_bytes"}
    found = faults(tmp_path, relay={"to": TO, "spool_size": "much", "secret": "A b", "alarms": [{}]})
    assert found.keys() == {"relay.spool_size", "relay.secret", "relay.alarms[0]"}


def test_images_are_chosen_only_where_an_agent_asks_the_function_and_forwards_no_others(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    artifact = write_colours(tmp_path / "artifact")

    def find(**values: Any) -> set[str]:
        workspace = load_workspace(
            write(tmp_path, sources=[{"name": "inbox", "path": ".", "through": "broker"}], **values)
        )
        with pytest.raises(ConfigError) as error:
            build_local_app(workspace, artifact)
        return {fault.path for fault in error.value.faults}

    assert find(choose={"here": True}) == {"sources[0].through"}
    assert find(relay={"to": TO, "images": "chosen"}) == {"sources[0].through"}
    assert find(choose={"here": True}, relay={"to": TO, "images": "low"}) == {"choose.here", "sources[0].through"}
    assert find(choose={"here": True}, relay={"to": TO}, through="cloud") == {"choose.here", "sources[0].through"}
    chosen = {"to": TO, "images": "chosen"}
    assert find(relay=chosen, through="cloud") == {"relay.images", "sources[0].through"}
    assert find(choose={"here": True}, data={"path": "s3://bucket"}) == {"choose.here"}
    kept = build_local_app(load_workspace(write(tmp_path, choose={"here": True})), artifact).triggers[-1]
    assert (kept.name, kept.url, kept.needs_publisher) == ("dataset", f"dataset://{tmp_path}/photos", True)
    for site, keeps in (("home", True), ("elsewhere", False)):
        found = {"source": f"/eaves/{site}/inbox", "chosen": "audit"}
        assert matches_all(found, {}, kept.filters) == keeps, "other sites don't decide what judges here"
    taken = {"name": "dataset", "url": "http://alarm.example/"}
    assert faults(tmp_path, choose={"here": True}, triggers=[taken]).keys() == {"triggers"}


def test_an_alarm_that_no_event_can_raise_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    warn_of_attributes(load_workspace(write(tmp_path, relay={"to": TO, "alarms": [{"label": "fire"}, {"lable": "x"}]})))
    reported = capsys.readouterr().err
    assert "eaves.yaml: relay.alarms[1].lable" in reported
    assert "did you mean label?" in reported
    assert reported.count("warning") == 1


def test_the_folder_of_credentials_is_seen_from_eaves_yaml(tmp_path: Path):
    workspace = load_workspace(write(tmp_path, relay={"to": TO, "credentials": "link"}))
    with pytest.raises(ConfigError) as error:
        resolve_relay(workspace)
    assert error.value.faults[0].path == "relay.credentials"
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "ca.crt").write_text("")
    with pytest.raises(ConfigError) as error:
        resolve_relay(workspace)
    assert "holds neither token nor tls.crt" in error.value.faults[0].message
    (tmp_path / "link" / "token").write_text("0123456789abcdef\n")
    assert resolve_relay(workspace).credentials == tmp_path / "link"


def test_the_function_in_the_cloud_is_behind_the_receiver(tmp_path: Path):
    project = load_workspace(write(tmp_path, relay={"to": f"{TO}/"}, through="cloud")).project
    app = build_site_app(project, FunctionImage(name="r@sha256:" + "a" * 64), SiteSettings(name="barn"))
    assert app.cloud_function == f"{TO}/v1/functions/flowers"
    assert app.relay.to == f"{TO}/"

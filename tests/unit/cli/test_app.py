"""Sources, triggers and the function of eaves.yaml as this machine runs them, and warnings about the file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.cli.app import resolve_serving, resolve_sources, resolve_triggers, warn_of_attributes, warn_of_types
from eaves.cli.project import Workspace, load_workspace
from eaves.errors import ConfigError
from eaves.events import IMAGE_CLASSIFIED, IMAGE_INSPECTED
from eaves.platform import SourceSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path


def workspace(folder: Path, *sources: dict[str, Any], **values: Any) -> Workspace:
    file = folder / "eaves.yaml"
    file.write_text(yaml.safe_dump({"name": "digits", "data": {"path": "."}, "sources": list(sources), **values}))
    return load_workspace(file)


def with_triggers(folder: Path, *triggers: dict[str, Any]) -> Workspace:
    return workspace(folder, triggers=[{"name": f"t{number}", **one} for number, one in enumerate(triggers)])


def test_what_a_platform_needs_and_what_the_agent_is_reported_stand_side_by_side(folder: Path):
    (folder / "secret").mkdir()
    own = {"path": "inbox", "polling": True, "rate": "1/s", "credentials": "secret"}
    loaded = workspace(folder, {"name": "inbox", "claim": "photos", **own})
    assert loaded.project.sources[0].claim == "photos"
    paths = {"path": str(folder / "inbox"), "credentials": str(folder / "secret")}
    assert resolve_sources(loaded) == (SourceSpec(name="inbox", options={**own, **paths}),)
    (source,) = resolve_sources(workspace(folder, {"name": "gate", "kind": "camera", "url": "clip.mp4"}))
    assert source.options["url"] == f"{folder}/clip.mp4"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pth": "inbox"}, "eaves.yaml: sources[1].pth: unknown setting; did you mean path?"),
        ({"path": "inbox", "settle_s": "long"}, "eaves.yaml: sources[1].settle_s: must be a number (got 'long')"),
        ({"path": "inbox", "credentials": "gone"}, "eaves.yaml: sources[1].credentials: "),
    ],
)
def test_a_fault_is_reported_with_its_path(values: dict[str, Any], message: str, folder: Path):
    with pytest.raises(ConfigError) as error:
        resolve_sources(workspace(folder, {"name": "a", "path": "inbox"}, {"name": "b", **values}))
    assert message in str(error.value)


def test_a_missing_folder_works_with_a_warning_as_its_source_waits_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    """It was refused, while a network disk may be unmounted when another setting is deployed."""
    (source,) = resolve_sources(workspace(folder, {"name": "a", "path": "in box"}))

    assert source.options["path"] == f"{folder}/in box"
    assert capsys.readouterr().err == (
        f"warning: eaves.yaml: sources[0].path: {folder}/in box does not exist; the source waits for it"
        f": mkdir -p '{folder}/in box'\n"
    )


def test_a_password_in_an_address_works_with_a_warning_that_names_the_fix(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    values = {"name": "gate", "kind": "http", "url": "http://me:secret@cam.example/snap.jpg", "every_s": 5}
    resolve_sources(workspace(folder, values))
    resolve_triggers(with_triggers(folder, {"url": "mqtt://user:secret@hub/a"}, {"url": "http://hub/a?token=secret"}))
    reported = capsys.readouterr().err
    assert "sources[0].url holds a password or token; write it to the files username and password" in reported
    assert "triggers[0].url holds a password or token, which" in reported
    assert "set `mqtt: {credentials: FOLDER}`" in reported
    assert "triggers[1].url holds a password or token, which" in reported
    assert "secret@" not in reported


def test_images_that_the_function_would_refuse_are_a_fault(folder: Path):
    large = {
        "name": "a",
        "path": "inbox",
        "through": "broker",  # with `function`, the agent asks it with the bytes
        "claim_check_over_bytes": 1_000_000,
        "claim_check_bucket": "s3://photos/gate",
        "claim_check_endpoint": "http://minio.lan:9000",
    }
    with pytest.raises(ConfigError, match=r"images of the source a at http://minio.lan:9000/photos: .* 'http'"):
        resolve_sources(workspace(folder, large))
    allowed = {"dataref_hosts": ["minio.lan:9000"], "dataref_schemes": ["http"]}
    (source,) = resolve_sources(workspace(folder, large, function=allowed))
    assert source.options["claim_check_over_bytes"] == 1_000_000


def test_the_functions_keys_are_named_by_an_absolute_path_and_checked(folder: Path):
    loaded = workspace(folder, function={"dataref_hosts": ["store.example"], "dataref_credentials": "keys"})
    with pytest.raises(ConfigError, match=r"function.dataref_credentials: .*keys is not a folder"):
        resolve_serving(loaded)
    (folder / "keys").mkdir()
    with pytest.raises(ConfigError, match=r"function.dataref_credentials: .*keys holds neither access_key nor"):
        resolve_serving(loaded)
    (folder / "keys" / "access_key").write_text("a")
    (folder / "keys" / "secret_key").write_text("b")
    assert resolve_serving(loaded).dataref_credentials == folder / "keys"


def test_folders_of_credentials_are_beside_eaves_yaml_and_each_that_cant_be_used_is_reported(folder: Path):
    (folder / "keys").mkdir()
    (trigger,) = resolve_triggers(with_triggers(folder, {"url": "mqtt://hub/a", "mqtt": {"credentials": "keys"}}))
    assert trigger.mqtt.credentials == folder / "keys"
    (folder / "keys/tls.crt").touch()
    named = [{"url": "mqtt://hub/a", "mqtt": {"credentials": name}} for name in ("none", "keys")]
    with pytest.raises(ConfigError) as caught:
        resolve_triggers(with_triggers(folder, *named))
    assert [fault.path for fault in caught.value.faults] == [
        "triggers[0].mqtt.credentials",
        "triggers[1].mqtt.credentials",
    ]
    assert "is not a folder" in caught.value.message
    assert "both tls.crt and tls.key, or neither" in caught.value.message


@pytest.mark.parametrize(
    ("trigger", "warning"),
    [
        (
            {"url": "mqtt://hub/{camera}"},
            "url: no event of Eaves has the attribute camera; did you mean partitionkey?",
        ),
        (
            {"url": "http://hub/", "filter": {"type": "dev.eaves.image.clasified.v1"}},
            f"filter.type: no event has the type dev.eaves.image.clasified.v1; did you mean {IMAGE_CLASSIFIED}?",
        ),
        ({"url": "mqtt://hub/{wheel}", "filter": {"type": "com.example.turned", "wheel": "left"}}, ""),
    ],
)
def test_an_attribute_that_no_event_has_works_with_a_warning(
    trigger: dict[str, Any], warning: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    warn_of_attributes(with_triggers(folder, trigger))
    reported = capsys.readouterr().err
    assert reported.startswith(f"warning: eaves.yaml: triggers[0].{warning}" if warning else "")
    assert reported.count("\n") == bool(warning)


def test_a_trigger_for_predictions_of_another_task_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    workspace = with_triggers(folder, {"url": "http://hub/", "filter": {"type": IMAGE_CLASSIFIED}})
    warn_of_types(workspace, IMAGE_CLASSIFIED)
    assert capsys.readouterr().err == ""
    warn_of_types(workspace, IMAGE_INSPECTED)
    place, types = "eaves.yaml: triggers[0].filter.type", f"{IMAGE_INSPECTED}, and don't pass {IMAGE_CLASSIFIED}"
    assert capsys.readouterr().err == f"warning: {place}: this model's predictions have the type {types}\n"

"""Sources of eaves.yaml on this machine: one flat mapping each, checked with the settings of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.cli.app.app_specs import resolve_serving
from eaves.cli.app.project import Workspace, load_workspace
from eaves.cli.app.sources import resolve_sources
from eaves.errors import ConfigError
from eaves.platform import SourceSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path


def workspace(folder: Path, *sources: dict[str, Any]) -> Workspace:
    file = folder / "eaves.yaml"
    file.write_text(yaml.safe_dump({"name": "digits", "data": {"path": "."}, "sources": list(sources)}))
    return load_workspace(file)


def test_what_a_platform_needs_and_what_the_agent_is_reported_stand_side_by_side(folder: Path) -> None:
    (folder / "secret").mkdir()
    values = {
        "name": "inbox",
        "path": "inbox",
        "claim": "photos",
        "polling": True,
        "rate": "1/s",
        "credentials": "secret",
    }
    loaded = workspace(folder, values)
    assert loaded.project.sources[0].claim == "photos"
    (source,) = resolve_sources(loaded)
    assert source == SourceSpec(
        name="inbox",
        options={
            "path": str(folder / "inbox"),
            "polling": True,
            "rate": "1/s",
            "credentials": str(folder / "secret"),
        },
    )


@pytest.mark.parametrize(
    ("url", "resolved"),
    [("clip.mp4", "{folder}/clip.mp4"), ("/dev/video0", "/dev/video0"), ("rtsp://cam/stream", "rtsp://cam/stream")],
)
def test_a_video_file_is_found_beside_eaves_yaml(url: str, resolved: str, folder: Path) -> None:
    (source,) = resolve_sources(workspace(folder, {"name": "gate", "kind": "camera", "url": url}))
    assert source.options["url"] == resolved.format(folder=folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pth": "inbox"}, "eaves.yaml: sources[1].pth: unknown setting; did you mean path?"),
        ({"cliam": "x"}, "eaves.yaml: sources[1].cliam: unknown setting; did you mean claim?"),
        ({"kind": "foldr"}, "eaves.yaml: sources[1].kind: there is no source kind 'foldr'; did you mean folder?"),
        ({"path": "inbox", "settle_s": "long"}, "eaves.yaml: sources[1].settle_s: must be a number (got 'long')"),
        ({"path": "inbox", "credentials": "gone"}, "eaves.yaml: sources[1].credentials: "),
    ],
)
def test_a_fault_is_reported_with_its_path(values: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        resolve_sources(workspace(folder, {"name": "a", "path": "inbox"}, {"name": "b", **values}))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("kind", "hint"), [("folder", ": mkdir -p '{folder}/in box'"), ("replay", "")], ids=["folder", "replay"]
)
def test_a_missing_folder_works_with_a_warning_as_its_source_waits_for_it(
    kind: str, hint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was refused, while a network disk may be unmounted when another setting is deployed."""
    (source,) = resolve_sources(workspace(folder, {"name": "a", "kind": kind, "path": "in box"}))

    assert source.options["path"] == f"{folder}/in box"
    assert capsys.readouterr().err == (
        f"warning: eaves.yaml: sources[0].path: {folder}/in box does not exist; the source waits for it"
        f"{hint.format(folder=folder)}\n"
    )


def test_a_password_in_an_address_works_with_a_warning_that_names_the_fix(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"name": "gate", "kind": "http", "url": "http://me:secret@cam.example/snap.jpg", "every_s": 5}
    resolve_sources(workspace(folder, values))
    reported = capsys.readouterr().err
    assert "sources[0].url holds a password or token; write it to the files username and password" in reported
    assert "secret@" not in reported


def test_images_that_the_function_would_refuse_are_a_fault(folder: Path) -> None:
    large = {
        "name": "a",
        "path": "inbox",
        "claim_check_over_bytes": 1_000_000,
        "claim_check_bucket": "s3://photos/gate",
        "claim_check_endpoint": "http://minio.lan:9000",
    }
    with pytest.raises(ConfigError, match=r"images of the source a at http://minio.lan:9000/photos: .* 'http'"):
        resolve_sources(workspace(folder, large))
    text = (folder / "eaves.yaml").read_text()
    allowed = {"function": {"dataref_hosts": ["minio.lan:9000"], "dataref_schemes": ["http"]}}
    (folder / "eaves.yaml").write_text(text + yaml.safe_dump(allowed))
    (source,) = resolve_sources(load_workspace(folder / "eaves.yaml"))
    assert source.options["claim_check_over_bytes"] == 1_000_000


def test_the_functions_keys_are_named_by_an_absolute_path_and_checked(folder: Path) -> None:
    settings = {"dataref_hosts": ["store.example"], "dataref_credentials": "keys"}
    file = folder / "eaves.yaml"
    file.write_text(yaml.safe_dump({"name": "digits", "data": {"path": "."}, "function": settings}))
    with pytest.raises(ConfigError, match=r"function.dataref_credentials: .*keys is not a folder"):
        resolve_serving(load_workspace(file))
    (folder / "keys").mkdir()
    with pytest.raises(ConfigError, match=r"function.dataref_credentials: .*keys holds neither access_key nor"):
        resolve_serving(load_workspace(file))
    (folder / "keys" / "access_key").write_text("a")
    (folder / "keys" / "secret_key").write_text("b")
    assert resolve_serving(load_workspace(file)).dataref_credentials == folder / "keys"

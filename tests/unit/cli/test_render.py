"""`eaves render`, typed: YAML to a pipe, files to a folder, one folder a site."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.errors import ConfigError

IMAGE = "registry.example/barn/flowers@sha256:" + "b" * 64
SITES = [{"name": "barn", "namespace": "cams"}, {"name": "mill", "namespace": "mill"}]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "eaves.yaml")


def write(path: Path, **values: Any) -> Path:
    path.write_text(yaml.safe_dump({"name": "flowers", "data": {"path": "photos"}, **values}))
    return path


def eaves(project: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments), "--file", str(project)], prog_name="eaves")


def render(project: Path, *arguments: str | Path, image: str = IMAGE) -> Result:
    return eaves(project, "render", image, "--offline", *arguments)


def test_objects_go_to_stdout_as_documents_and_nothing_else_does(project: Path):
    result = render(project)
    assert (result.exit_code, result.stderr) == (0, "")
    documents = list(yaml.safe_load_all(result.stdout))
    assert [one["kind"] for one in documents] == [
        *("ServiceAccount", "NetworkPolicy", "Broker", "EventType", "EventType", "DaemonSet", "Service", "Trigger"),
    ]
    service = documents[6]["spec"]["template"]
    assert service["spec"]["containers"][0]["image"] == IMAGE


def test_several_sites_have_a_folder_each(project: Path, tmp_path: Path):
    write(project, sites=SITES)
    result = render(project, "--all", "--output", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["barn", "mill"]
    assert result.stderr == f"to apply the files: kubectl apply -f {tmp_path}/out/SITE\n"
    for name, namespace in (("barn", "cams"), ("mill", "mill")):
        (path,) = (tmp_path / "out" / name).glob("*-service-flowers.yaml")
        service = yaml.safe_load(path.read_text())
        assert service["metadata"]["namespace"] == namespace
        assert service["metadata"]["labels"]["eaves.dev/site"] == name


def test_all_that_stands_in_the_way_is_said_at_once(project: Path):
    write(project, sources=[{"name": "inbox", "path": "x"}, {"name": "camera", "path": "y", "agent": "node"}])
    error = render(project).exception
    assert isinstance(error, ConfigError)
    assert {fault.path for fault in error.faults} >= {"knative.agent_image", "sources[0].claim", "sources[1].path"}


def test_the_secret_of_each_sites_relay_is_reported(tmp_path: Path):
    relay = {"to": "https://cloud.example:8443", "secret": "link"}
    agent = "registry.example/eaves-agent@sha256:" + "c" * 64
    project = write(tmp_path / "eaves.yaml", relay=relay, sites=SITES, knative={"agent_image": agent})
    result = render(project, "--all")
    assert result.exit_code == 0, result.output
    files = "--from-file=token=FILE --from-file=ca.crt=FILE"
    for site in SITES:
        reported = f"create the Secret with the token of the site {site['name']}, which the relay needs"
        command = f"kubectl -n {site['namespace']} create secret generic link {files}"
        assert f"{reported}: {command}" in result.stderr

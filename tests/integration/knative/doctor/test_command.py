"""`eaves doctor` as it is typed: what it prints, and what it ends with."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from eaves.cli import cli
from eaves.errors import UnreachableClusterError
from tests.fakes.controllers.installation import bare, install_knative, set_channel
from tests.fakes.kubernetes.apiserver import FakeCluster, open_apiserver, refusing_url
from tests.fakes.kubernetes.kubeconfig import write_kubeconfig

FLOWERS = {"name": "flowers", "data": {"path": "photos"}}


@pytest.fixture
def server() -> Iterator[FakeCluster]:
    with open_apiserver("barn") as running:
        install_knative(running)
        yield running


@pytest.fixture
def project(server: FakeCluster, tmp_path: Path) -> Path:
    """An eaves.yaml with a site, and beside it the kubeconfig."""
    server.kubeconfig(tmp_path / "kubeconfig", namespace="eaves")
    file = tmp_path / "eaves.yaml"
    file.write_text(yaml.safe_dump({**FLOWERS, "sites": [{"name": "barn", "namespace": "eaves"}]}))
    return file


def doctor(project: Path, *arguments: str) -> Result:
    options = ["--file", str(project), "--kubeconfig", str(project.parent / "kubeconfig")]
    return CliRunner().invoke(cli, ["doctor", *options, *arguments], prog_name="eaves")


def make_well(server: FakeCluster) -> None:
    """A broker that keeps events, with a place for those that nobody takes."""
    set_channel(server, "KafkaChannel")
    broker = bare("eventing.knative.dev/v1", "Broker", "eaves", namespace="eaves")
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    server.put({**broker, "spec": {"delivery": {"deadLetterSink": {"uri": "http://dead.test/"}}}, "status": ready})


def test_a_table_and_below_it_each_fix_on_a_line_to_copy(project: Path):
    result = doctor(project)
    assert result.exit_code == 3, result.output
    assert "Knative Serving 1.23.0" in result.output
    assert "SITE" not in result.output, "there is only one"
    fixes = [line for line in result.output.splitlines() if line.startswith("triggers: ")]
    assert fixes == ["triggers: set knative.dead_letter_sink in eaves.yaml to an http(s) address"]


def test_it_ends_with_nothing_but_notes_when_all_is_well(project: Path, server: FakeCluster):
    make_well(server)
    result = doctor(project, "-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {row["severity"] for row in found} <= {"ok", "note"}
    assert found[0]["check"] == "packages"
    assert all(set(row) == {"severity", "check", "message", "fix"} for row in found)


def test_it_looks_at_the_container_image_that_was_deployed_last(project: Path):
    assert "eaves.yaml names no container image yet" in doctor(project).output
    kept = project.parent / ".eaves/wanted" / f"{FLOWERS['name']}.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"name": f"registry.test/flowers@sha256:{'0' * 64}"}))
    assert "eaves.yaml names no container image yet" not in doctor(project).output


def test_a_site_that_does_not_answer_is_the_commands_error(project: Path):
    with refusing_url() as url:
        write_kubeconfig(project.parent / "kubeconfig", {"barn": url}, namespace="eaves")
        result = doctor(project)
    assert isinstance(result.exception, UnreachableClusterError)


def test_of_several_sites_each_has_its_rows(project: Path, server: FakeCluster):
    make_well(server)
    with refusing_url() as url:
        write_kubeconfig(project.parent / "kubeconfig", {"barn": server.url, "field": url}, namespace="eaves")
        sites = [{"name": name, "context": name, "namespace": "eaves"} for name in ("barn", "field")]
        project.write_text(yaml.safe_dump({**FLOWERS, "sites": sites}))
        result = doctor(project, "--all", "-o", "json")
        table = doctor(project, "--all")
    assert result.exit_code == table.exit_code == 69
    rows = json.loads(result.stdout)
    lost = [row for row in rows if row["site"] == "field"]
    assert [(row["severity"], row["check"]) for row in lost] == [("error", "server")]
    assert next(row["check"] for row in rows if row["site"] == "barn") == "server"
    assert "SITE" in table.output


def test_a_machine_without_a_cluster_is_examined_itself(project: Path, monkeypatch: pytest.MonkeyPatch):
    camera = {"name": "gate", "kind": "camera", "url": "/dev/no-such-camera"}
    project.write_text(yaml.safe_dump({**FLOWERS, "sources": [camera]}))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    arguments = ["doctor", "--file", str(project), "--on", "local", "-o", "json"]
    result = CliRunner().invoke(cli, arguments, prog_name="eaves")
    assert result.exit_code == 69
    found = {row["check"]: row for row in json.loads(result.stdout)}
    assert list(found) == ["packages", "settings", "disk", "memory", "clock", "port", "sources"]
    assert found["packages"]["severity"] == "ok"
    assert found["sources"]["message"] == "gate: /dev/no-such-camera does not exist"

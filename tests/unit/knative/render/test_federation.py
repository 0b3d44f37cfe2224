"""`eaves federate render`. With EAVES_WRITE_GOLDEN=1 in its environment this writes the golden files."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from eaves.cli import cli
from tests.cli import eaves, run_eaves
from tests.cluster.apps import IMAGE
from tests.cluster.manifests import pod_templates, restricted_faults, validate

BOTH = ("--image", "registry.example/barn/trainer@sha256:" + "e" * 64, "--function-image", IMAGE)
SITE = (
    *("--site", "mill", "--namespace", "barn", "--relay", "http://flowers-relay.barn", "--to", "https://cloud:8443"),
    *("--images-claim", "photos", "--credentials-secret", "mill-link", "--options", "--minimum=50"),
)
GOLDEN = Path(__file__).parent / "rendered"


def render(*arguments: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(run_eaves("federate", "render", *BOTH, *arguments).stdout))


@pytest.mark.parametrize(("name", "arguments"), [("federation-site", SITE), ("federation-collect", ())])
def test_the_objects_are_the_golden_file_and_need_no_privilege(name: str, arguments: tuple[str, ...], shared: Path):
    text, golden = run_eaves("federate", "render", *BOTH, *arguments).stdout, GOLDEN / f"{name}.yaml"
    if os.environ.get("EAVES_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    objects = list(yaml.safe_load_all(text))
    for one in objects:
        validate(one, shared)
    assert objects[0]["spec"]["ingress"] == []
    (template,) = pod_templates(objects[-1])
    assert restricted_faults(template) == []
    assert template["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("arguments", [SITE, ()], ids=["site", "collect"])
def test_the_command_takes_what_the_container_passes(arguments: tuple[str, ...]):
    (container,) = pod_templates(render(*arguments)[-1])[0]["spec"]["containers"]
    assert container["command"] == ["python", "-P", "-m", "eaves.cli", "federate"]
    group = cli.get_command(None, "federate")  # type: ignore[arg-type]
    name, *given = container["args"]
    command = group.get_command(None, name)  # type: ignore[union-attr]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {text.partition("=")[0] for text in given} <= known


def test_a_collector_that_pushes_has_logins_variables_and_room_to_build():
    (template,) = pod_templates(render("--push-secret=login", "--secret=pip", "--work-size=3Gi")[-1])
    (container,), volumes = template["spec"]["containers"], {one["name"]: one for one in template["spec"]["volumes"]}
    folder = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}["docker"]
    assert container["env"] == [{"name": "DOCKER_CONFIG", "value": folder}]
    assert volumes["docker"]["secret"]["secretName"] == "login"
    assert container["envFrom"] == [{"secretRef": {"name": "pip"}}]
    assert volumes["tmp"]["emptyDir"]["sizeLimit"] == "3Gi"


def test_what_can_not_work_is_refused():
    error = eaves("federate", "render", "--site", "mill").exception
    assert {fault.path for fault in error.faults} == {  # type: ignore[union-attr]
        *("image", "function_image", "images_claim", "credentials_secret", "relay", "to")
    }

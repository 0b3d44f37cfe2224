"""`eaves console render`. With EAVES_WRITE_GOLDEN=1 in its environment this writes the golden file."""

import os
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from eaves.cli.commands.receiver import render_console as command
from eaves.config import build, env_layer, iter_leaves
from knative.resources.rendering import to_yaml
from knative.resources.standalone_servers import SiteConsoleSettings
from tests.cluster.apps import AGENT_IMAGE
from tests.cluster.manifests import pod_templates, restricted_faults, validate

GOLDEN = Path(__file__).parent / "rendered" / "console.yaml"
FULL = (
    "--image",
    AGENT_IMAGE,
    "--namespace",
    "barn",
    "--pod",
    "{imagePullSecrets: [{name: registry-login}]}",
)


def render(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def rendered(*arguments: str) -> dict[str, dict[str, Any]]:
    """Objects by kind."""
    result = render(*FULL, *arguments)
    assert result.exit_code == 0, result.output
    return {one["kind"]: one for one in yaml.safe_load_all(result.stdout)}


def find_verbs(objects: dict[str, dict[str, Any]]) -> set[str]:
    return {verb for rule in objects["Role"]["rules"] for verb in rule["verbs"]}


def test_what_is_rendered_is_the_golden_file():
    text = render(*FULL).stdout
    if os.environ.get("EAVES_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_object_is_valid_by_the_schemas(shared: Path):
    for one in rendered("--writable").values():
        validate(one, shared)
        assert yaml.safe_load(to_yaml(one)) == one


def test_its_pod_passes_restricted_pod_security():
    (template,) = pod_templates(rendered()["Deployment"])
    assert restricted_faults(template) == []


def test_it_may_only_read_unless_it_is_writable():
    assert find_verbs(rendered()) == {"get", "list"}
    assert find_verbs(rendered("--writable")) == {"get", "list", "patch", "delete"}


def test_it_may_neither_read_secrets_nor_run_programs_in_pods():
    named = {resource for rule in rendered("--writable")["Role"]["rules"] for resource in rule["resources"]}
    assert not named & {"secrets", "pods/exec", "pods/portforward", "pods/proxy", "*"}


def test_the_process_reads_what_the_pod_gives_it():
    (template,) = pod_templates(rendered("--silent-after-s", "90")["Deployment"])
    given = {one["name"]: one["value"] for one in template["spec"]["containers"][0]["env"]}
    assert given.keys() <= {leaf.env for leaf in iter_leaves(SiteConsoleSettings)}
    settings = build(SiteConsoleSettings, env_layer(SiteConsoleSettings, given))
    assert (settings.site, settings.read_only, settings.events_port) == ("barn", True, 8080)
    assert (settings.credentials, settings.silent_after_s) == (Path("/credentials"), 90.0)

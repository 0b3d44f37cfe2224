"""`eaves receiver render`. With EAVES_WRITE_GOLDEN=1 in its environment this writes the golden file."""

import os
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from eaves.cli.commands.receiver import render as command
from eaves.config import build, env_layer, iter_leaves
from eaves.errors import ConfigError
from eaves.link.settings import ReceiverSettings
from knative.resources.rendering import to_yaml
from tests.cluster.apps import AGENT_IMAGE
from tests.cluster.manifests import pod_templates, restricted_faults, validate

GOLDEN = Path(__file__).parent / "rendered" / "receiver.yaml"
FULL = (
    *(
        "--image",
        AGENT_IMAGE,
        "--namespace",
        "cloud",
        "--broker",
        "default",
        "--pod",
        "{imagePullSecrets: [{name: registry-login}]}",
    ),
    *("--client-ca-secret", "site-authority", "--spool-size", "1Gi", "--service-type", "LoadBalancer"),
    *("--functions", "flowers=http://flowers.cloud.svc,faults=http://faults.cloud.svc/"),
    *("--function-timeout-s", "300"),
)


def render(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def rendered(*arguments: str) -> dict[str, dict[str, Any]]:
    """Objects by kind."""
    result = render(*(arguments or FULL))
    assert result.exit_code == 0, result.output
    return {one["kind"]: one for one in yaml.safe_load_all(result.stdout)}


def pod_of(objects: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod and its container."""
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def settings_of(objects: dict[str, dict[str, Any]], **more: str) -> ReceiverSettings:
    """What the process in the pod reads, with what Knative tells it."""
    _, made = pod_of(objects)
    reported = {one["name"]: one["value"] for one in made["env"]}
    assert reported.keys() <= {leaf.env for leaf in iter_leaves(ReceiverSettings)}
    return build(ReceiverSettings, env_layer(ReceiverSettings, {**reported, **more}))


def faults(*arguments: str) -> dict[str, str]:
    result = render(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert {fault.path for fault in result.exception.faults} == {""}
    return {fault.origin[2:].replace("-", "_"): fault.message for fault in result.exception.faults}


def test_what_is_rendered_is_the_golden_file():
    text = render(*FULL).stdout
    if os.environ.get("EAVES_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_object_is_valid_by_the_schemas(shared: Path):
    for one in rendered().values():
        validate(one, shared)
        assert yaml.safe_load(to_yaml(one)) == one


def test_its_pod_passes_restricted_pod_security_and_gets_no_token():
    (template,) = pod_templates(rendered()["StatefulSet"])
    assert restricted_faults(template) == []
    assert template["spec"]["automountServiceAccountToken"] is False


def test_the_process_reads_what_is_rendered():
    settings = settings_of(rendered(), K_SINK="http://broker.cloud.svc")
    assert (settings.host, settings.port, settings.credentials) == ("0.0.0.0", 8443, Path("/credentials"))
    assert settings.function_urls() == {"flowers": "http://flowers.cloud.svc", "faults": "http://faults.cloud.svc/"}
    assert (settings.function_timeout_s, settings.spool_max_bytes) == (300, 500_000_000)
    objects = rendered("--image", AGENT_IMAGE, "--sink", "http://store.cloud.svc")
    assert settings_of(objects).sink == "http://store.cloud.svc"
    assert "SinkBinding" not in objects
    objects = rendered("--image", AGENT_IMAGE, "--folder-size", "10Gi")
    assert settings_of(objects).folder == Path("/received")
    assert [claim["metadata"]["name"] for claim in objects["StatefulSet"]["spec"]["volumeClaimTemplates"]] == [
        "spool",
        "received",
    ]


def test_the_authority_of_the_servers_certificate_signs_no_sites_certificate():
    """cert-manager writes `ca.crt` beside each certificate, so the holder of another certificate would be a site."""
    pod, _ = pod_of(rendered("--image", AGENT_IMAGE, "--broker", "default"))
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "credentials"]
    keys = {item["key"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
    assert keys == {"tls.crt", "tls.key"}
    pod, _ = pod_of(rendered())
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "credentials"]
    assert {source["secret"]["name"] for source in volume["projected"]["sources"]} == {
        "receiver-tls",
        "site-authority",
    }


def test_what_can_not_work_is_refused():
    assert faults().keys() == {"image", "broker"}
    assert "broker and sink are" in faults("--image", AGENT_IMAGE, "--broker", "b", "--sink", "http://s")["broker"]
    usable = ("--image", AGENT_IMAGE, "--broker", "b")
    assert faults(*usable, "--image", "agent:latest").keys() == {"image"}
    assert faults(*usable, "--functions", "flowers").keys() == {"functions"}
    assert faults(*usable, "--spool-size", "much", "--name", "A").keys() == {"spool_size", "name"}
    assert faults(*usable, "--tls-secret", "", "--sites-secret", "").keys() == {"tls_secret", "sites_secret"}

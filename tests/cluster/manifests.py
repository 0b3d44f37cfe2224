"""What we would apply, held against what an API server accepts: schemas first, then the rules that no schema has.

Core kinds go through Kubernetes' own schemas (`kubernetes-validate`), Knative's through the CRDs of a real cluster, all
closed: a field that nobody knows is a fault, as it is to a strict API server. A Job inside a JobSink and a pod template
inside a Knative kind are held against the core schemas too.
"""

import copy
import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

VERSIONS = ("1.36", "1.37")
"""Versions of Kubernetes: that of the e2e tests' cluster, and the newest with published schemas."""
Manifest = Mapping[str, Any]

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def validate(manifest: Manifest, shared: Path | None = None) -> None:
    """Fail the test that applies something an API server would refuse.

    Args:
        manifest: One object.
        shared: The folder beside the project; Knative's kinds need its CRDs, and without them the test is skipped.
    """
    group = str(manifest["apiVersion"]).rpartition("/")[0]
    found = [*_general(manifest)]
    if group.endswith(".knative.dev"):
        if shared is None:
            pytest.skip("Knative's CRDs lie beside the project, in ../shared/schemas")
        found += _knative(manifest, shared)
    else:
        found += _core(manifest)
    for template in pod_templates(manifest):
        found += _template(template)
    assert not found, f"{manifest['kind']} {manifest['metadata'].get('name')}:\n" + "\n".join(found)


def pod_templates(manifest: Manifest) -> list[dict[str, Any]]:
    """The pod templates in an object, a JobSink's Job's among them."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        return [{"metadata": manifest["metadata"], "spec": spec}]
    if manifest["kind"] == "JobSink":
        return pod_templates({"kind": "Job", **spec["job"]})
    if manifest["kind"] == "CronJob":
        return pod_templates({"kind": "Job", **spec["jobTemplate"]})
    if "spec" not in spec.get("template", {}):
        return []
    claimed = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())]  # a StatefulSet's
    made = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claimed]
    pod = spec["template"]["spec"]
    return [spec["template"] | {"spec": pod | {"volumes": [*pod.get("volumes", ()), *made]}}]


def restricted_faults(template: Mapping[str, Any]) -> list[str]:
    """What the restricted profile of Pod Security would refuse in a pod template.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, v1.36.
    """
    spec: Mapping[str, Any] = template["spec"]
    found = [f"{key} is on" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for volume in spec.get("volumes", ()):
        kinds = set(volume) - {"name"} - _RESTRICTED_VOLUMES
        found += [f"volume {volume['name']} is a {kind}" for kind in sorted(kinds)]
    for container in _containers(spec):
        faults = _restricted(container, spec.get("securityContext", {}))
        found += [f"{container.get('name', 'the container')}: {fault}" for fault in faults]
    return found


def _restricted(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both, capabilities = pod | own, own.get("capabilities", {})
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "it is privileged"
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities are not dropped"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "it may run as root"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "no seccomp profile"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "it takes a port of the host"


def _core(manifest: Manifest, where: str = "") -> list[str]:
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(dict(manifest), version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.path))
            found.append(f"{version}: {where}{path}: {error.message[:300]}")
    return found


def _knative(manifest: Manifest, shared: Path) -> list[str]:
    key = (manifest["apiVersion"], manifest["kind"])
    schemas = _crds(shared / "schemas" / "knative-crds.json")
    assert key in schemas, f"no CRD for {key}"
    errors = jsonschema.Draft202012Validator(schemas[key]).iter_errors(manifest)
    found = [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]
    if manifest["kind"] == "JobSink":
        job = {"apiVersion": "batch/v1", "kind": "Job", **manifest["spec"]["job"]}
        job["metadata"] = {"name": "made-by-the-sink", **job.get("metadata", {})}
        found += [*_core(job, "spec.job."), *_general(job)]
    return found


@functools.cache
def _crds(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(apiVersion, kind) to a closed JSON Schema."""
    found = {}
    for crd in json.loads(path.read_text())["items"]:
        for version in crd["spec"]["versions"]:
            key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
            schema = _close(version["schema"]["openAPIV3Schema"])
            # The server puts these into every kind; a CRD needn't name them.
            envelope = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
            found[key] = schema | {"properties": schema["properties"] | envelope, "additionalProperties": False}
    return found


def _close(schema: Any) -> Any:
    """A structural schema as JSON Schema that refuses what it doesn't name.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/.
    """
    if isinstance(schema, list):
        return [_close(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _close(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed


def _general(manifest: Manifest) -> Iterator[str]:
    """Names, labels and selectors."""
    metadata, spec = manifest["metadata"], manifest.get("spec", {})
    if not _DNS_LABEL.fullmatch(metadata.get("name", "")):
        yield f"metadata.name: {metadata.get('name')!r} is no DNS label"
    template = spec.get("template") if isinstance(spec.get("template"), dict) else {}
    for where, labelled in (("metadata", metadata), ("spec.template.metadata", template.get("metadata", {}))):
        for key, value in labelled.get("labels", {}).items():
            if not _LABEL_KEY.fullmatch(key) or not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
                yield f"{where}.labels: {key}: {value!r} is no label"
        for key, value in labelled.get("annotations", {}).items():
            if not _LABEL_KEY.fullmatch(key) or not isinstance(value, str):
                yield f"{where}.annotations: {key}: {value!r} must be a string"
    wanted = spec.get("selector", {}).get("matchLabels", {}) if isinstance(spec.get("selector"), dict) else {}
    if wanted and template and not wanted.items() <= template.get("metadata", {}).get("labels", {}).items():
        yield f"spec.selector: {wanted} doesn't select the template's pods"


def _template(template: Mapping[str, Any]) -> list[str]:
    """What the schemas don't know of pods."""
    spec, found = copy.deepcopy(dict(template["spec"])), []
    named = {"metadata": {"name": "pod"} | dict(template.get("metadata", {})), "spec": dict(spec)}
    for key in ("containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"):
        named["spec"].pop(key, None)  # a Revision's own
    for container in named["spec"]["containers"]:
        container.setdefault("name", "user-container")  # as Knative names the only one
    found += _core({"apiVersion": "v1", "kind": "Pod", **named}, "template.")
    containers = _containers(spec)
    volumes = [volume["name"] for volume in spec.get("volumes", ())]
    for what, names in (("container", [one.get("name") for one in containers]), ("volume", volumes)):
        found += [f"two {what}s are named {name}" for name in sorted({str(n) for n in names if names.count(n) > 1})]
    used = set()
    for container in containers:
        mounts = container.get("volumeMounts", ())
        used |= {mount["name"] for mount in mounts}
        paths = [mount["mountPath"] for mount in mounts]
        found += [f"{container['name']}: two mounts at {path}" for path in set(paths) if paths.count(path) > 1]
        variables = [one["name"] for one in container.get("env", ())]
        found += [f"{container['name']}: {name} is set twice" for name in set(variables) if variables.count(name) > 1]
        for kind, amounts in container.get("resources", {}).items():
            found += [
                f"{container['name']}: {kind}.{name}: {amount!r} is no quantity"
                for name, amount in amounts.items()
                if not _QUANTITY.fullmatch(str(amount))
            ]
    found += [f"volume {name} is mounted but not there" for name in sorted(used - set(volumes))]
    found += [f"volume {name} is mounted by nobody" for name in sorted(set(volumes) - used)]
    return found


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", ()), *spec["containers"]]

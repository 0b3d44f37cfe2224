"""Pods of every part: minimal rights, credentials as files, and the user's own fields, the fragment `pod`.

A fragment is a mapping of fields of a Kubernetes pod (`FIELDS`), which eaves.yaml may name for all pods of an app
(`knative.pod`), a site (`sites.pod`), a source's agent (`sources.pod`) and trainings (`job.pod`). The fragments of a
pod are merged, and the result is merged into the pod that Eaves builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eaves.config.yaml_text import load_yaml
from eaves.platform.quantities import QUANTITY_PATTERN
from knative.client.kinds import Manifest, Object
from knative.settings import Faults, Fragment, merge_fragments

USER = 65532
"""User id that the container images of Eaves run as."""
FIELDS = (
    "affinity",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "resources",
    "runtimeClassName",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
)
"""Fields of a fragment: those of a pod's spec, and `resources`, which are those of its one container."""
CREDENTIALS_FOLDER, CREDENTIALS_VOLUME = "/credentials", "credentials"
"""Mount path of a Secret in a pod, and the name of its volume."""
LOGIN_FOLDER = "/docker"
"""Mount path of the logins to registries in a pod that pushes container images."""
RELAY_FOLDER, RELAY_VOLUME = "/relay-credentials", "relay-credentials"
"""The same of the relay's credentials in an agent's pod, which differ from the agent's own credentials."""
OWNER_READS, READABLE = 0o400, 0o444
"""Modes of the files: for the owner and the group only, and for every user of the container. Knative allows no
`fsGroup` without a feature flag, so a function's process, which isn't root, needs the second."""
LISTEN_ALL = "0.0.0.0"  # noqa: S104 - the pod's own; other pods, the kubelet and metrics scrapers connect from outside
"""Address on which servers in pods listen."""

Mounted = tuple[Object | None, Object]
"""Volume and mount of a folder of a pod; no volume for one that a StatefulSet claims."""


def build_pod(
    name: str,
    image: str,
    fragment: Fragment,
    *,
    resources: Object,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Sequence[Object] = (),
    ports: Mapping[str, int] | None = None,
    folders: Sequence[Mounted] = (),
    temporary: str = "64Mi",
    security: Object | None = None,
    container: Object | None = None,
    **fields: Any,
) -> Manifest:
    """Build the spec of a pod with one container and without access to the cluster.

    Args:
        name: Name of the container.
        image: Container image.
        fragment: The user's fields, merged by `merge_fragments`. Its `resources` are merged into the container's.
        resources: Requests and limits of the container.
        command: Command of the container; empty for that of its image.
        args: Arguments of the command.
        env: Environment variables; `build_env` makes them.
        ports: Ports by name.
        folders: Folders that are mounted in the container besides /tmp.
        temporary: Maximum size of /tmp, the one folder that can be written to; empty for none.
        security: The container's securityContext, in place of that of `build_security`.
        container: Other fields of the container, such as its probes.
        fields: Other fields of the pod's spec, which the fragment may replace.
    """
    given = {"command": list(command), "args": list(args), "env": list(env)}
    given["ports"] = [{"name": port, "containerPort": number} for port, number in (ports or {}).items()]
    shares = _without_empty(merge_fragments(resources, fragment.get("resources") or {}))
    made = {
        "name": name,
        "image": image,
        **{field: value for field, value in given.items() if value},
        **(container or {}),
        "resources": shares,
        "securityContext": security or build_security(),
    }
    if temporary:
        volume = {"name": "tmp", "emptyDir": {"sizeLimit": temporary}}
        folders = [(volume, {"name": "tmp", "mountPath": "/tmp"}), *folders]  # noqa: S108 - the container's own
    if folders:
        made["volumeMounts"] = [mount for _, mount in folders]
    pod = {"automountServiceAccountToken": False, "enableServiceLinks": False, **fields, "containers": [made]}
    if volumes := [volume for volume, _ in folders if volume is not None]:
        pod["volumes"] = volumes
    placed = _with_integers({field: value for field, value in fragment.items() if field != "resources"})
    return dict(_without_empty(merge_fragments(pod, placed)))


def _without_empty(value: Any) -> Any:
    """Return a mapping without values that the user set to null, and without the mappings that become empty so."""
    if not isinstance(value, Mapping):
        return value
    inner = {name: _without_empty(item) for name, item in value.items() if item is not None}
    return {name: item for name, item in inner.items() if item != {} or value[name] == {}}


def find_selector(fragment: Fragment) -> dict[str, str]:
    """Return the labels of the nodes that a fragment chooses, without those that a later fragment has taken away."""
    return {name: value for name, value in (fragment.get("nodeSelector") or {}).items() if value is not None}


def common_fragment(shared: Fragment, own: Fragment | None = None) -> Manifest:
    """Return the fragment of a pod that is not the function's.

    The `resources` of the shared fragments, `knative.pod` and `sites.pod`, are the function's.
    """
    return merge_fragments({name: value for name, value in shared.items() if name != "resources"}, own or {})


def load_fragment(text: str) -> Manifest:
    """Parse a fragment that is given as YAML or JSON text, as on a command line."""
    loaded = load_yaml(text) if text else {}
    if not isinstance(loaded, dict):
        raise ValueError("must be a mapping, such as {imagePullSecrets: [{name: registry}]}")  # noqa: TRY004
    return loaded


def find_fragment_faults(fragment: Fragment) -> Faults:
    """Yield (path below the fragment, message) of each value that Kubernetes' schema of a pod does not allow."""
    if not fragment:
        return
    from kubernetes.client import models  # 0.3 s: only for an eaves.yaml with a fragment
    from pydantic import ValidationError

    for name in set(fragment) - set(FIELDS):
        yield name, f"must be one of {', '.join(FIELDS)}"
    known = _without_empty({name: value for name, value in fragment.items() if name in FIELDS})
    container = {"name": "any", "resources": known.pop("resources", None)}
    try:
        models.V1PodSpec.model_validate({"containers": [container], **_with_integers(known)})
    except ValidationError as error:
        for one in error.errors(include_url=False):
            place = one["loc"][2:] if one["loc"][0] == "containers" else one["loc"]
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
            given = "" if one["type"] == "missing" else f" (got {one['input']!r:.80})"
            yield path.lstrip("."), f"{_SENTENCES.get(one['type'], one['msg'])}{given}"
    resources = container["resources"]
    for share in ("requests", "limits"):
        values = resources.get(share) if isinstance(resources, Mapping) else None
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if value is not None and not QUANTITY_PATTERN.fullmatch(str(value)):
                yield f"resources.{share}.{name}", f"must be a quantity such as 250m or 256Mi (got {value!r})"


_SENTENCES = {"extra_forbidden": "is no field that Kubernetes knows here", "missing": "is required"}
"""Messages by type of pydantic's error, where pydantic's own says less."""
_INTEGERS = frozenset({"maxSkew", "minDomains", "tolerationSeconds", "weight"})


def _with_integers(value: Any, name: str = "") -> Any:
    """Return a fragment with its integers, which eaves.yaml holds as text like all its values."""
    if isinstance(value, Mapping):
        labels = name in {"nodeSelector", "matchLabels"}  # a label may have any name
        return dict(value) if labels else {inner: _with_integers(item, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    return int(value) if name in _INTEGERS and isinstance(value, str) and value.isdecimal() else value


def build_security(*, user: int | None = None) -> Manifest:
    """Build a container's securityContext.

    Source: Kubernetes, Pod Security Standards, `restricted`.

    Args:
        user: User id to run as instead of the container image's own; 0 is root, which `restricted` refuses.
    """
    security: Manifest = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": user != 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return security if user is None else {**security, "runAsUser": user}


def build_env(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """Build the `env` of a container from names and values.

    Kubernetes replaces `$(NAME)` in a value, so every `$` is written as `$$`, which it turns back into `$`.
    Source: Kubernetes, EnvVar, `value`.
    """
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]


def build_credentials(
    secret: str, *, volume: str = CREDENTIALS_VOLUME, folder: str = CREDENTIALS_FOLDER, mode: int = OWNER_READS
) -> Mounted:
    """Build (volume, mount) of a Secret. Its keys become files that, by default, only the pod's user can read.

    The kubelet also lets the group `fsGroup` read the files, so that a user other than root can read them. It writes
    changed values of the Secret into the folder within minutes, and the process reads the files at its next connection.

    Source: Kubernetes, Secrets, `defaultMode`; pkg/volume/util/atomic_writer.go.
    """
    made = {"name": volume, "secret": {"secretName": secret, "defaultMode": mode}}
    return made, {"name": volume, "mountPath": folder, "readOnly": True}


def build_login(secret: str) -> tuple[dict[str, str], list[Mounted]]:
    """Build the variables, and (volume, mount), of a Secret of the type kubernetes.io/dockerconfigjson, if any."""
    if not secret:
        return {}, []
    items = [{"key": ".dockerconfigjson", "path": "config.json"}]
    volume = {"name": "docker", "secret": {"secretName": secret, "items": items}}
    return {"DOCKER_CONFIG": LOGIN_FOLDER}, [(volume, {"name": "docker", "mountPath": LOGIN_FOLDER, "readOnly": True})]


def build_environment(secret: str) -> Manifest:
    """Build the fields of a container whose environment has the entries of a Secret, if any."""
    return {"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}

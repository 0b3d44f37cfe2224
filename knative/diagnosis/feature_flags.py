"""Knative's feature flags: the flag that each field needs, and the command that enables it.

Source: Knative Serving 1.23, pkg/apis/config/features.go (keys and defaults), pkg/apis/serving/fieldmask.go and
k8s_validation.go (which flag each field needs), config/core/configmaps/features.yaml (flags that can't safely be
disabled).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CONFIG_MAP, NAMESPACE = "config-features", "knative-serving"
ENABLED = "enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlag:
    """A feature flag of Knative, which is a key of the ConfigMap config-features.

    Attributes:
        key: Key of the ConfigMap config-features.
        default: Value when the key is absent: `enabled` or `disabled`.
        lasting: Whether Knative documents that the flag cannot safely be disabled once enabled.
    """

    key: str
    default: str = "disabled"
    lasting: bool = True


def _pod(name: str, *, lasting: bool = True, default: str = "disabled") -> FeatureFlag:
    return FeatureFlag(key=f"kubernetes.podspec-{name}", lasting=lasting, default=default)


NODE_SELECTOR = _pod("nodeselector")
EMPTY_DIR = _pod("volumes-emptydir", lasting=False, default="enabled")
FIELDS = {
    "nodeSelector": NODE_SELECTOR,
    "affinity": _pod("affinity"),
    "tolerations": _pod("tolerations"),
    "topologySpreadConstraints": _pod("topologyspreadconstraints"),
    "runtimeClassName": _pod("runtimeclassname"),
    "priorityClassName": _pod("priorityclassname"),
    "schedulerName": _pod("schedulername"),
    "securityContext": _pod("securitycontext"),
    "hostAliases": _pod("hostaliases"),
    "hostNetwork": _pod("hostnetwork"),
    "hostPID": _pod("hostpid"),
    "hostIPC": _pod("hostipc"),
    "dnsPolicy": _pod("dnspolicy"),
    "dnsConfig": _pod("dnsconfig"),
    "shareProcessNamespace": _pod("shareprocessnamespace", lasting=False),
    "initContainers": _pod("init-containers", lasting=False),
    "fieldRef": _pod("fieldref"),
    "emptyDir": EMPTY_DIR,
    "image": _pod("volumes-image", lasting=False),
    "hostPath": _pod("volumes-hostpath"),
    "csi": _pod("volumes-csi", lasting=False),
    "ephemeral": _pod("volumes-ephemeral", lasting=False),
    "mountPropagation": _pod("volumes-mount-propagation", lasting=False),
    "persistentVolumeClaim": _pod("persistent-volume-claim", lasting=False),
}
"""Feature flag for each field of a pod, by the last segment of the field's path. The flag of `securityContext` is for
the field of the pod; in a container the field needs no flag."""
_WRITE = _pod("persistent-volume-write", lasting=False)
_NOT_SET = re.compile(r"must not set the field\(s\): ([^\n]*)")
_DISABLED = re.compile(r"(\w+) (volume|Propagation) support is disabled")
_VOLUMES = {"Image": "image", "EmptyDir": "emptyDir", "HostPath": "hostPath", "CSI": "csi", "Ephemeral": "ephemeral"}
_LASTING = "cannot safely be disabled once enabled"


def missing_flags(denial: str) -> dict[str, FeatureFlag]:
    """Return the disabled flag of each field that Knative's webhook refused; empty for another kind of refusal."""
    found: dict[str, FeatureFlag] = {}
    for path in _fields(denial):
        name = re.sub(r"\[[^]]*\]$", "", path).rpartition(".")[2]
        own = name == "securityContext" and "containers" in path
        if (flag := FIELDS.get(name)) is not None and not own:
            found[path] = flag
    for kind, _ in _DISABLED.findall(denial):
        volume = _VOLUMES.get(kind)
        if volume is not None and FIELDS[volume] not in found.values():
            found[f"spec.template.spec.volumes ({volume})"] = FIELDS[volume]
    if "Persistent volume write support is disabled" in denial:
        found["spec.template.spec.volumes (persistentVolumeClaim that isn't readOnly)"] = _WRITE
    return found


def is_on(flag: FeatureFlag, values: Mapping[str, str]) -> bool:
    """Return whether the fields of a flag are accepted.

    Flags of volumes and claims must have the value `enabled`; the other flags may also have the value `allowed`.
    """
    value = str(values.get(flag.key, flag.default)).lower()
    return value == ENABLED or (value == "allowed" and "volume" not in flag.key)


def enable_command(*flags: FeatureFlag) -> str:
    """Return the kubectl command that enables feature flags."""
    patch = json.dumps({"data": {flag.key: ENABLED for flag in flags}})
    return f"kubectl -n {NAMESPACE} patch configmap {CONFIG_MAP} --type merge -p '{patch}'"


def warn_lasting(*flags: FeatureFlag) -> str:
    """Return a warning about the flags that can't safely be disabled again; empty when there is none."""
    keys = [flag.key for flag in flags if flag.lasting]
    return f"{' and '.join(keys)} {_LASTING}" if keys else ""


def _fields(denial: str) -> Iterator[str]:
    for paths in _NOT_SET.findall(denial):
        yield from (path.strip(" .") for path in paths.split(",") if path.strip(" ."))

"""Rendering of an app at a site: every object in the order of applying, and the same as commented YAML files.

`deploy` applies exactly these objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eaves.base.files import write_atomically
from eaves.errors import ConfigError, StorageError
from knative.resources.access import build_account, build_network_policy
from knative.resources.agent import build_agents
from knative.resources.eventing import build_broker, build_event_types, build_triggers
from knative.resources.faults import find_faults
from knative.resources.function import build_function
from knative.resources.metadata import PART_LABEL
from knative.resources.pin import build_pin
from knative.resources.publisher import build_publishers
from knative.resources.relay import build_relay, build_relay_triggers
from knative.settings import ClusterApp

HEAD = "# Written by `eaves render` for `kubectl apply -f`. To change it, change eaves.yaml and render again.\n"


def render_app(app: ClusterApp) -> tuple[dict[str, Any], ...]:
    """Render every object of an app at a site, in the order of applying.

    Raises:
        ConfigError: When eaves.yaml has faults for a cluster; it lists them all.
    """
    faults = list(find_faults(app))
    if faults:
        raise ConfigError(faults)
    return tuple(sorted(_objects(app), key=lambda one: one["kind"] != "Namespace"))


def _objects(app: ClusterApp) -> Iterator[dict[str, Any]]:
    yield build_account(app)
    if app.knative.network_policy:
        yield build_network_policy(app)
    if app.knative.create_broker:
        yield build_broker(app)
    yield from build_event_types(app)
    if app.knative.pin:
        yield build_pin(app)
    yield build_function(app)
    yield from build_publishers(app)
    yield from build_relay(app)
    yield from build_triggers(app)
    yield from build_relay_triggers(app)
    yield from build_agents(app)


class _Plain(yaml.SafeDumper):
    """YAML dumper that writes repeated values in full, without anchors, and a multi-line string as a block."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True, so that a repeated value is written in full and not as a reference to an anchor."""
        return True


def _represent_text(dumper: _Plain, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """Render an object as YAML, with comments on fields that aren't obvious."""
    text = yaml.dump(dict(manifest), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=10_000)
    part = (manifest["metadata"].get("labels") or {}).get(PART_LABEL, "")
    return annotate(text, str(manifest["kind"]), part)


def write_files(manifests: Sequence[Mapping[str, Any]], folder: Path, *, head: str = HEAD) -> list[Path]:
    """Write one file for each object, and remove files of an earlier rendering that are no longer wanted.

    Args:
        manifests: The objects, in the order of applying.
        folder: Folder for the files; it is created if it doesn't exist.
        head: First line of each file, a comment that says which command has written it.

    Raises:
        StorageError: When the folder can't be written.
    """
    # kubectl applies files in the order of their names, so objects that other objects need come first
    wanted = {
        f"{index}-{str(one['kind']).lower()}-{one['metadata']['name']}.yaml": one
        for index, one in enumerate(manifests, start=10)
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.yaml"):
            if path.name not in wanted and path.read_text(encoding="utf-8").startswith(head):
                path.unlink()
        for name, manifest in wanted.items():
            content = head + to_yaml(manifest)
            write_atomically(folder / name, content, durability="none", mode=None, sole_writer=True)
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{folder} can't be written: {error}", hint="choose another folder with --output") from error
    return [folder / name for name in wanted]


_TRAINING = {
    "kueue.x-k8s.io/queue-name": "Kueue starts the Job when the queue has room.",
    "eaves.dev/run": "Name of the run that the Job writes; run only one Job at a time for a run.",
    "ttlSecondsAfterFinished": "Seconds after the end until the Job and its logs are deleted; the run is kept.",
    "podFailurePolicy": (
        "By exit code: a pod that is evicted costs no attempt; bad images or settings end the Job at once."
    ),
    "restartPolicy": "A podFailurePolicy requires Never.",
    "terminationGracePeriodSeconds": "Seconds that a stopped pod has to write its checkpoint.",
    "automountServiceAccountToken": "The pod needs no access to the API server.",
    "fsGroup": "The group that may write the volumes.",
    "envFrom": "Secret with the credentials of the storage.",
    "emptyDir": "Folders to write to; the root file system is read-only.",
    ".dockerconfigjson": "Secret with the logins at registries, mounted as $DOCKER_CONFIG/config.json.",
}

_GROUP = "The group that lets the process write its volumes and read its Secrets."
_TLS = "TLS ends in the pod, so a gateway or load balancer in front of it must pass TLS through."
_FILE_MODE = "0400: only the user of the container may read the files; the kubelet adds fsGroup."

COMMENTS = {
    "Job": _TRAINING,
    "JobSink": _TRAINING | {"job": "Each event creates one Job, named after the event's source and id."},
    "Service": {
        "eaves.dev/pin": "Name of the DaemonSet that keeps the container image on the nodes; a rollout waits for it.",
        "networking.knative.dev/visibility": (
            "The function has no address outside the cluster; `knative.public: true` adds one."
        ),
        "autoscaling.knative.dev/min-scale": (
            "0: the function stops when no request arrives for the window, and starts at the next one."
        ),
        "queue.sidecar.serving.knative.dev/cpu-resource-request": "Requests of the sidecar that Knative adds.",
        "serving.knative.dev/progress-deadline": (
            "Time limit for pulling the container image and the start; then the revision fails."
        ),
        "automountServiceAccountToken": "Its pods get no token, as they need no access to the API server.",
        "containerConcurrency": "Equal to the function's EAVES_CONCURRENCY; further requests wait in the sidecar.",
        "timeoutSeconds": "Equal to the longest timeout of the Triggers.",
        "enableServiceLinks": "Environment variables for every Service of the namespace would slow the start.",
        "nodeSelector": "Needs Knative's feature flag kubernetes.podspec-nodeselector.",
        "defaultMode": "0444: every user of the container may read the files; fsGroup would need a feature flag.",
        "image": "Named by digest: a tag can be moved, and a digest needs no request to the registry.",
        "readinessProbe": (
            "The function is ready after it has reproduced a golden image. There is no period, as "
            "the sidecar probes many times a second."
        ),
        "successThreshold": (
            "Knative's default; without it, Knative refuses to change shares if the revision has a name."
        ),
        "emptyDir": "Folders to write to; the root file system is read-only.",
    },
    "access NetworkPolicy": {
        "ingress": "Only Serving's activator, its autoscaler and the gateway may reach the pods.",
        "egress": (
            "The pods may reach the cluster's DNS (knative.dns), and the hosts of function.dataref_hosts "
            "if that is set."
        ),
        "ports": (
            "Ports of the sidecar: HTTP 8012 and HTTPS 8112; the next rule has 9090, its metrics for the autoscaler."
        ),
    },
    "source NetworkPolicy": {"ingress": "Only metrics can be read, from within the cluster."},
    "publisher NetworkPolicy": {
        "ingress": "Only Knative Eventing may send events; metrics can be read from within the cluster.",
    },
    "relay NetworkPolicy": {
        "ingress": (
            "Only Knative Eventing and the app's agents may send events; metrics can be read from within the cluster."
        ),
    },
    "console NetworkPolicy": {
        "ingress": "Browsers may connect from anywhere and must log in; only Knative Eventing may send events.",
    },
    "receiver NetworkPolicy": {
        "ingress": (
            "Sites may connect from anywhere, with a token or a certificate; metrics can be read from "
            "within the cluster."
        ),
    },
    "ServiceAccount": {
        "automountServiceAccountToken": "Its pods get no token, as they need no access to the API server."
    },
    "Broker": {
        "spec": "The cluster's default class mostly keeps events in memory; `eaves doctor` checks it.",
    },
    "Trigger": {
        "filter": "Without a type, the function would get its own replies (it answers them with 202).",
        "retry": (
            "Number of retries, after 0.5 s, 1 s, 2 s, 4 s, ... (exponential) or 1 s, 2 s, 3 s, 4 s, ... (linear)."
        ),
        "timeout": "Longer than a cold start and the wait in the queue together.",
        "deadLetterSink": "Gets events that can't be delivered, with the reason in knativeerror* attributes.",
    },
    "console Trigger": {
        "retry": "A copy that the console misses is not sent again, because the pages only show events.",
    },
    "EventType": {"eaves.dev/schema": "JSON Schema of the event's data."},
    "DaemonSet": {
        "maxSurge": "A node's old pod is deleted after the new one runs there, one node at a time.",
        "command": "The container does nothing; its pod keeps the container image on the node.",
        "hostPath": "Folders of the node: images or devices, and the spool.",
        "privileged": (
            "Only a privileged container can open a device that no device plugin provides (`device_resource`)."
        ),
        "terminationMessagePath": "The default is below /dev, where no file can be created here.",
        "nodeSelector": "Labels of the nodes that run the agent.",
        "runAsUser": "The kubelet creates the spool's folder as root.",
    },
    "StatefulSet": {
        "fsGroup": _GROUP,
        "podManagementPolicy": (
            "With Parallel, a pod that can't start is replaced as soon as its template is corrected."
        ),
        "projected": (
            "Only the server's certificate and key; the ca.crt beside them does not sign certificates of sites."
        ),
        "defaultMode": _FILE_MODE,
        "volumeClaimTemplates": (
            "Volumes, which are kept when the part is removed: `spool` holds events not yet passed on."
        ),
    },
    "source StatefulSet": {
        "env": (
            "EAVES_FUNCTION_URL: the agent sends images to this function and only predictions to the sink "
            "(with `through: broker`: images to the sink)."
        ),
    },
    "relay Service": {
        "spec": "It is the sink of agents, the subscriber of a Trigger, and the dead letter sink of every Trigger."
    },
    "publisher Service": {"spec": "It is the subscriber of the Trigger, as Knative delivers events by HTTP."},
    "console Service": {"targetPort": _TLS},
    "receiver Service": {"targetPort": _TLS},
    "console Role": {"rules": "The console reads the site; agents answer it directly, so it may forward no ports."},
    "Deployment": {
        "strategy": "Two pods would show two histories.",
        "fsGroup": _GROUP,
        "defaultMode": _FILE_MODE,
        "emptyDir": "Folders to write to; the root file system is read-only.",
    },
    "SinkBinding": {
        "subject": "The workload that gets K_SINK, the address of the sink; a Job gets it only when it is created."
    },
}
"""Comment of each field, by kind of the object, and by part of the app and kind. A comment is inserted where the field
first occurs in the object."""


def annotate(text: str, kind: str, part: str = "") -> str:
    """Insert the comments on fields into the YAML of an object.

    Args:
        text: YAML of the object.
        kind: Kind of the object.
        part: Part of the app, the value of `knative.resources.metadata.PART_LABEL`.
    """
    waiting = COMMENTS.get(kind, {}) | COMMENTS.get(f"{part} {kind}", {})
    lines = []
    for line in text.splitlines():
        bare = line.lstrip().removeprefix("- ")
        key = bare.partition(":")[0]
        if key in waiting and ":" in bare:
            indent = " " * (len(line) - len(line.lstrip()))
            lines.append(f"{indent}# {waiting.pop(key)}")
        lines.append(line)
    return "\n".join(lines) + "\n"

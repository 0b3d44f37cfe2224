"""Comments that explain fields of a rendered object, at the field."""

from __future__ import annotations

_TRAINING = {
    "kueue.x-k8s.io/queue-name": "Kueue holds the Job back until there is room.",
    "eaves.dev/run": "Name of the run that it makes; run one Job at a time for it.",
    "ttlSecondsAfterFinished": "Then the Job and its logs are cleared away; the run stays where it is.",
    "podFailurePolicy": "By exit codes: making room costs no attempt, bad images or settings end it at once.",
    "completions": "Pods that share out the images; JOB_COMPLETIONS tells them how many they are.",
    "restartPolicy": "A podFailurePolicy wants it.",
    "terminationGracePeriodSeconds": "For the checkpoint.",
    "automountServiceAccountToken": "Nothing in the pod talks to the API server.",
    "fsGroup": "So that the volumes may be written.",
    "envFrom": "Credentials of the storage.",
    "emptyDir": "The root is read-only.",
    ".dockerconfigjson": "Logins at registries, as $DOCKER_CONFIG/config.json.",
}

_PARALLEL = "A pod that can't start is replaced as soon as its template is mended."
_FILE_MODE = "0400: read by its user alone; the kubelet adds fsGroup."

COMMENTS = {
    "Job": _TRAINING,
    "JobSink": _TRAINING | {"job": "Each event makes one, named by the event's source and id."},
    "Service": {
        "eaves.dev/pin": "The DaemonSet that keeps its container image on the nodes; a rollout waits for it.",
        "networking.knative.dev/visibility": "No address outside the cluster; `knative.public: true` gives it one.",
        "autoscaling.knative.dev/min-scale": "0: it stops when nothing comes for the window, and starts at an event.",
        "queue.sidecar.serving.knative.dev/cpu-resource-request": "The sidecar that Knative puts before it.",
        "serving.knative.dev/progress-deadline": "Fetching the container image and the start; then the revision fails.",
        "automountServiceAccountToken": "No pod of it has a token: none talks to the API server.",
        "containerConcurrency": "The function's own EAVES_CONCURRENCY; what comes beyond it waits in the sidecar.",
        "timeoutSeconds": "As long as the most patient Trigger waits.",
        "enableServiceLinks": "Variables for every Service of the namespace would slow the start.",
        "nodeSelector": "Needs the feature flag kubernetes.podspec-nodeselector.",
        "image": "By digest: a tag can move, and a digest is not looked up at the registry.",
        "readinessProbe": "Ready once a golden image is reproduced. No period: the sidecar asks many times a second.",
        "successThreshold": "Knative's default, said: else it refuses to change shares beside a revision with a name.",
        "emptyDir": "The root is read-only.",
    },
    "NetworkPolicy": {
        "ingress": "Serving's activator, autoscaler and the gateway; nobody else reaches the pods.",
        "egress": "The cluster's DNS (knative.dns); hosts of function.dataref_hosts where that is set.",
        "ports": "The sidecar's: HTTP 8012 and HTTPS 8112; below, its metrics 9090 for the autoscaler.",
    },
    "ServiceAccount": {"automountServiceAccountToken": "No pod of it has a token: none talks to the API server."},
    "Broker": {
        "spec": "The cluster's default class mostly keeps events in memory: `eaves doctor` tells.",
    },
    "Trigger": {
        "filters": "What the function makes of the Broker's events; agents send theirs straight to the relay.",
        "filter": "Without a type, a function would get its own replies back (it answers them with 202).",
        "retry": "Pauses: 0.5 s, 1 s, 2 s, 4 s, ... (exponential), or 1 s, 2 s, 3 s, 4 s, ... (linear).",
        "timeout": "Above a cold start and the queue: both count.",
        "deadLetterSink": "Gets what is given up on, with the reason in knativeerror* attributes.",
    },
    "EventType": {"eaves.dev/schema": "JSON Schema of the event's data."},
    "DaemonSet": {
        "maxSurge": "A node's old pod goes once the new one runs there, one node at a time.",
        "eaves.dev/revisions": "Revisions of this container image; the file goes when the Service names none of them.",
        "command": "Does nothing: it keeps the container image on the node.",
        "hostPath": "Folders of the node: images, the spool, and `former`, an earlier version's spool to be emptied.",
        "runAsUser": "The kubelet makes the spool's folder as root; every capability is dropped.",
    },
    "StatefulSet": {
        "env": "EAVES_FUNCTION_URL: asked first; only predictions go to the sink (`through: broker`: the images do).",
        "fsGroup": "So that the agent may write its spool, and read its Secret.",
        "podManagementPolicy": _PARALLEL,
        "defaultMode": _FILE_MODE,
        "volumeClaimTemplates": "What was found and the broker hasn't taken yet.",
    },
    "ContainerSource": {"emptyDir": "No memory: after a restart everything is sent again, under the same ids."},
    "publisher NetworkPolicy": {
        "ingress": "Events from Knative Eventing only; metrics within the cluster.",
    },
    "relay NetworkPolicy": {
        "ingress": "Events from Knative Eventing and the app's agents; metrics within the cluster.",
    },
    "relay Service": {"spec": "The sink of agents, a Trigger's subscriber, and the dead-letter sink of every Trigger."},
    "relay SinkBinding": {"subject": "Gets K_SINK, the address of the Broker, which gets a copy of every event."},
    "relay StatefulSet": {
        "podManagementPolicy": _PARALLEL,
        "fsGroup": "So that the relay may write its spool, and read its Secret.",
        "defaultMode": _FILE_MODE,
        "volumeClaimTemplates": "What the receiver hasn't answered for yet. It stays when the relay is removed.",
    },
    "publisher Service": {"spec": "The Trigger's subscriber: Knative delivers by HTTP."},
    "publisher StatefulSet": {
        "podManagementPolicy": _PARALLEL,
        "fsGroup": "So that the publisher may write its spool, and read its Secret.",
        "defaultMode": _FILE_MODE,
        "volumeClaimTemplates": "What the Broker delivered and the MQTT broker hasn't acknowledged yet.",
    },
    "receiver NetworkPolicy": {
        "ingress": "Sites from anywhere, which show a token or a certificate; metrics within the cluster.",
    },
    "receiver Service": {"targetPort": "TLS ends in the pod: what stands before it must pass it through."},
    "receiver SinkBinding": {"subject": "Gets K_SINK, the address of the Broker that received events go to."},
    "receiver StatefulSet": {
        "podManagementPolicy": _PARALLEL,
        "fsGroup": "So that the receiver may write its volumes, and read its Secrets.",
        "projected": "The server's certificate alone: the authority beside it signs no site's certificate.",
        "defaultMode": _FILE_MODE,
        "volumeClaimTemplates": "What was received and not passed on yet, and the ids that were received.",
    },
    "SinkBinding": {"subject": "Gets K_SINK, the address of the sink; a Job only while it is made."},
}
"""Comment of each field, by kind, or by part and kind; it stands at the field's first place in the object."""


def annotate(text: str, kind: str, part: str = "") -> str:
    """Insert the comments into the YAML of an object.

    Args:
        text: YAML of the object.
        kind: Kind of the object.
        part: Part of the app, the value of `knative.resources.fields.labels.PART_LABEL`.
    """
    waiting = dict(COMMENTS.get(f"{part} {kind}", COMMENTS.get(kind, {})))
    lines = []
    for line in text.splitlines():
        bare = line.lstrip().removeprefix("- ")
        key = bare.partition(":")[0]
        if key in waiting and ":" in bare:
            indent = " " * (len(line) - len(line.lstrip()))
            lines.append(f"{indent}# {waiting.pop(key)}")
        lines.append(line)
    return "\n".join(lines) + "\n"

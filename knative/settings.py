"""Settings of clusters: the sections `knative`, `rollout`, `sites` and `job` of eaves.yaml, and the app at a site."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eaves.base.names import ADDRESS_OR_NONE, NAME, NAME_OR_NONE, OBJECT_OR_NONE
from eaves.config import build, env_layer, setting
from eaves.platform import QUANTITY, AppSpec
from functions.settings import ServeSettings

DNS_PORT = 53
CLUSTER_DNS = "kube-system/k8s-app=kube-dns"
"""Namespace and label of the pods that resolve names in most clusters.

Source: Kubernetes, cluster/addons/dns/coredns; kubeadm, k3s, RKE2, GKE, EKS and AKS keep namespace and label.
"""
Faults = Iterator[tuple[str, str]]
"""Path and message of each fault of settings."""
Fragment = Mapping[str, Any]
"""Fields of a Kubernetes pod that eaves.yaml may name (`knative.resources.pod`)."""
_PODS = re.compile(
    r"(?P<namespace>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)"
    r"/(?P<label>[A-Za-z0-9][A-Za-z0-9./_-]*=[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?"
)


def parse_resolver(text: str) -> tuple[dict[str, Any], int]:
    """Parse a DNS resolver that a function may query: `NAMESPACE/LABEL=VALUE[:PORT]`, an IP address or a network.

    Returns:
        peer: The peer that selects the resolver in a NetworkPolicy.
        port: Port that the resolver listens at, UDP and TCP. It is the pod's own port, since a NetworkPolicy compares
            that: OpenShift's resolver pods listen at 5353.

    Raises:
        ValueError: When the text is neither a pod selector nor an IP address or network.
    """
    pods = _PODS.fullmatch(text)
    if pods is None:
        return {"ipBlock": {"cidr": str(ipaddress.ip_network(text))}}, DNS_PORT
    port = int(pods["port"] or DNS_PORT)
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port number")
    name, _, value = pods["label"].partition("=")
    namespaces = {"matchLabels": {"kubernetes.io/metadata.name": pods["namespace"]}}
    return {"namespaceSelector": namespaces, "podSelector": {"matchLabels": {name: value}}}, port


@dataclass(frozen=True, slots=True, kw_only=True)
class KnativeSettings:
    """Settings of the function and its sources on a cluster: the section `knative` of eaves.yaml."""

    image: str = setting(
        "",
        "Container image of the function by digest, as `eaves package` prints it; `eaves deploy IMAGE` overrides it.",
    )
    agent_image: str = setting("", "Container image of the agents by digest (Dockerfile, target `agent`).")
    agent_camera_image: str = setting(
        "", "Container image by digest of the agents of sources of kind `camera` (Dockerfile, target `agent-camera`)."
    )
    agent_s3_image: str = setting(
        "",
        "Container image by digest of the agents of sources of kind `s3`, or with `claim_check_bucket` (Dockerfile, "
        "target `agent-s3`). For a camera with `claim_check_bucket`, `agent_camera_image` is the target "
        "`agent-camera-s3`.",
    )
    trainer_image: str = setting("", "Container image of the trainer by digest (Dockerfile, target `trainer`).")
    dataref_secret: str = setting(
        "",
        "Secret with the files `access_key` and `secret_key`, which is mounted in place of "
        "`function.dataref_credentials`, so that the function can fetch images from private buckets.",
        form=OBJECT_OR_NONE,
    )
    broker: str = setting(
        "eaves", "Name of the Broker that events are sent through, in the function's namespace.", form=NAME
    )
    create_broker: bool = setting(
        True, "Whether Eaves creates the Broker; no: the Broker exists already and is managed elsewhere."
    )
    broker_class: str = setting(
        "",
        "Class of the Broker that is created; empty: the cluster's default, which mostly keeps events only in memory.",
    )
    dead_letter_sink: str = setting(
        "",
        "The http(s) address that gets undeliverable events of the function's trigger and of other triggers that "
        "have no dead letter sink; empty: the Broker drops these events.",
        form=ADDRESS_OR_NONE,
    )
    public: bool = setting(
        False,
        "Whether the function has an address outside the cluster; no: it can be reached only from within the cluster.",
    )
    pod: dict[str, Any] = setting(
        dict,
        "Fields of the pods of the app and its trainings, as Kubernetes names them: tolerations, nodeSelector, "
        "affinity, topologySpreadConstraints, priorityClassName, runtimeClassName, imagePullSecrets, "
        "serviceAccountName, and `resources` of the function's container, which are by default requests of 250m CPU "
        "and 256Mi memory and a limit of 1Gi memory. Inception V3 takes 95 MB (int8) or 165 MB (fp32), a 50-megapixel "
        "PNG 290 MB more. Fields of `sites.pod`, `sources.pod` and `job.pod` are added to these.",
        nested=True,
    )
    pin: bool = setting(
        True,
        "Whether a small pod on every edge node keeps the function's container image there, so that the function "
        "can start from zero while the registry is unreachable.",
    )
    network_policy: bool = setting(
        True,
        "Whether a NetworkPolicy allows requests to the function only from Knative and the gateway, and "
        "connections from it only to `knative.dns` and the hosts of `function.dataref_hosts`.",
    )
    metrics_namespaces: tuple[str, ...] = setting(
        (),
        "Other namespaces whose pods, such as Prometheus, may read the metrics of agents, relays and publishers, "
        "separated by commas.",
    )
    dns: tuple[str, ...] = setting(
        (CLUSTER_DNS,),
        "DNS servers that the NetworkPolicy lets the function reach: pods as NAMESPACE/LABEL=VALUE, with :PORT "
        "unless they listen at 53, or addresses, such as 169.254.20.10 of a node-local DNS cache.",
    )
    agent_namespace: str = setting(
        "eaves-agents",
        "Namespace of agents that read folders or devices of their nodes; Eaves creates it with the Pod "
        "Security level that these agents need.",
    )
    gateway_namespace: str = setting("kourier-system", "Namespace of the gateway of the networking layer.")

    def sink_of_all(self) -> dict[str, str] | None:
        """Return the dead letter sink of triggers that name none, as a Trigger names it; None when there is none."""
        return {"uri": self.dead_letter_sink} if self.dead_letter_sink else None

    def faults(self) -> Faults:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for name in ("image", "agent_image", "agent_camera_image", "agent_s3_image", "trainer_image"):
            value = getattr(self, name)
            if value and "@sha256:" not in value:
                yield name, f"must name a digest, REPOSITORY@sha256:..., as a tag can be moved (got {value!r})"
        for text in self.dns:
            try:
                parse_resolver(text)
            except ValueError:
                yield "dns", f"must be NAMESPACE/LABEL=VALUE[:PORT], an address or a network (got {text!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """One site: a context of the kubeconfig and a namespace."""

    name: str = setting("", "Name of the site, which is part of its events' source: /eaves/SITE/NAME.", form=NAME)
    context: str = setting("", "Context of the kubeconfig for the site's cluster; empty: the current context.")
    namespace: str = setting("", "Namespace of the site; empty: the namespace of the context.", form=NAME_OR_NONE)
    pod: dict[str, Any] = setting(
        dict,
        "Fields of the site's pods besides `knative.pod`. With a `nodeSelector`, if the site is a part of a larger "
        "cluster, one replica of the function is kept running.",
        nested=True,
    )
    wave: int = setting(
        1, "Number of the wave in which the site is deployed; sites of a lower wave come first.", minimum=1, maximum=100
    )

    @property
    def options(self) -> str:
        """Options that choose the site in another command."""
        values = {"--site": self.name, "--context": self.context, "--namespace": self.namespace}
        return shlex.join(word for option, value in values.items() if value for word in (option, value))


def merge_fragments(*fragments: Fragment) -> dict[str, Any]:
    """Merge mappings: a later value replaces an earlier one, mappings are merged, and lists at the top are joined."""
    merged: dict[str, Any] = {}
    for fragment in fragments:
        for name, value in fragment.items():
            before = merged.get(name)
            if isinstance(before, list) and isinstance(value, list):
                merged[name] = [*before, *(item for item in value if item not in before)]
            else:
                merged[name] = _merge_below(before, value)
    return merged


def _merge_below(before: Any, value: Any) -> Any:
    if not (isinstance(before, Mapping) and isinstance(value, Mapping)):
        return value
    return {**before, **{name: _merge_below(before.get(name), inner) for name, inner in value.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterApp(AppSpec):
    """The app that one `eaves deploy` applies to a site.

    Attributes:
        image: Container image that holds the artifact, `REPOSITORY@sha256:...`; empty when none is named, which `eaves
            doctor` accepts and rendering refuses.
        classes: Labels that its model predicts, as a JSON list; empty when they aren't known.
        knative: Settings of the app's objects.
        site: The site.
    """

    image: str
    classes: str = ""
    knative: KnativeSettings
    site: SiteSettings

    @property
    def pod(self) -> dict[str, Any]:
        """The user's fields of the function's pods."""
        return merge_fragments(self.knative.pod, self.site.pod)

    @property
    def serving(self) -> ServeSettings:
        """The section `function` of eaves.yaml, by the settings of the function's process."""
        return build(ServeSettings, env_layer(ServeSettings, self.function.env))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """Settings of a training's Job on a cluster, and of the run that the Job leaves."""

    context: str = setting("", "Context of the kubeconfig for the cluster that trains; empty: the current context.")
    namespace: str = setting(
        "", "Namespace of the training Job; empty: the namespace of the context.", form=NAME_OR_NONE
    )
    data: str = setting(
        "",
        "Location of the images for the pods: a URI, or a path in the volume `data_claim`; empty: the whole "
        "volume, or, without a volume, `data.path`, which must then be a URI.",
    )
    data_claim: str = setting("", "PersistentVolumeClaim with the images, which is mounted read-only at /data.")
    output: str = setting(
        "",
        "URI that runs are written below, such as s3://models/runs; each training gets a name of its own. "
        "Can't be set together with `output_claim`.",
    )
    output_claim: str = setting("", "PersistentVolumeClaim that runs are written to, which is mounted at /runs.")
    work_claim: str = setting(
        "",
        "PersistentVolumeClaim that keeps downloads, features and artifacts for the next training; empty: they "
        "are kept on the pod's disk and deleted with the pod.",
    )
    work_size: str = setting(
        "20Gi", "Maximum size of a pod's files on its node's disk: downloads, features, the run.", form=QUANTITY
    )
    secret: str = setting(
        "",
        "Secret whose entries become environment variables, such as AWS_ACCESS_KEY_ID and other credentials "
        "of the storage.",
    )
    pod: dict[str, Any] = setting(
        dict,
        "Fields of the Job's pods besides `knative.pod`: `serviceAccountName`, if the storage identifies pods by it; "
        "`resources`, which are by default requests of 2 CPUs and 4Gi memory. Inception V3 takes 2 GB with a frozen "
        "backbone, and 3 GB in full at batch size 16. A GPU is a limit such as `nvidia.com/gpu: 1`.",
        nested=True,
    )
    pods: int = setting(
        1,
        "Number of pods that compute the features of a training, each those of a part of the images, for `train.mode: "
        "sums` and `train.task: anomaly`. Volumes must allow several pods (ReadWriteMany).",
        minimum=1,
    )
    queue: str = setting("", "Kueue LocalQueue that trainings wait in; empty: trainings start at once.")
    retries: int = setting(
        4, "Number of failed pods after which the training fails; evicted pods don't count.", minimum=0, maximum=100
    )
    deadline_s: int = setting(0, "Maximum duration of a training, waiting included, seconds; 0: no limit.", minimum=0)
    ttl_s: int = setting(
        86400, "Seconds after which a finished Job and its logs are deleted.", minimum=0, maximum=2**31 - 1
    )
    grace_s: int = setting(60, "Seconds that an evicted pod has to write its checkpoint.", minimum=5, maximum=3600)
    repository: str = setting(
        "",
        "Repository that a pipeline pushes the function's container image to: HOST/REPOSITORY; the tag is the "
        "model's version unless a tag is named.",
    )
    base: str = setting(
        "",
        "Base container image with Python that a pipeline builds on; named by digest, the same bytes are built "
        "each time. Its minor version of Python must be that of the trainer's container image (3.13).",
    )
    platforms: tuple[str, ...] = setting(
        (),
        "Platforms that the container image is built for, such as linux/amd64 and linux/arm64; empty: the "
        "training node's platform.",
    )
    push_secret: str = setting(
        "",
        "Secret of the type kubernetes.io/dockerconfigjson with which a pipeline pulls the base and pushes "
        "the container image.",
    )
    plain_http: bool = setting(False, "Whether the pipeline connects to the registry without TLS.")
    sink: str = setting(
        "",
        "The http(s) address that gets the event `model.published`; empty: the Broker `knative.broker`, by a "
        "SinkBinding.",
        form=ADDRESS_OR_NONE,
    )

    def faults(self) -> Faults:
        """Yield violations of rules that concern several fields, as (field, message)."""
        if self.output and "://" not in self.output:
            yield "output", f"must be a URI such as s3://models/runs (got {self.output!r})"
        if self.output and self.output_claim:
            yield "output_claim", "can't be set together with `job.output`"
        if self.data_claim and "://" in self.data:
            yield "data", f"must be a path in the volume {self.data_claim} (got {self.data!r})"
        if "@" in self.repository:
            yield "repository", f"must not name a digest, which depends on the content (got {self.repository!r})"

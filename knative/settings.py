"""Settings of clusters: the sections `knative` and `rollout` of eaves.yaml, and each entry of `sites`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.platform import QUANTITY_PATTERN
from knative.cluster_dns import CLUSTER_DNS, parse_resolver

MEMORY_LIMIT = "1Gi"


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
    )
    pull_secret: str = setting("", "Secret with which nodes pull container images; empty: the registry needs no login.")
    broker: str = setting("eaves", "Name of the Broker that events are sent through, in the function's namespace.")
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
    )
    public: bool = setting(
        False,
        "Whether the function has an address outside the cluster; no: it can be reached only from within the cluster.",
    )
    cpu: str = setting("250m", "CPU request of a replica; Knative's sidecar adds 25m.")
    cpu_limit: str = setting("", "CPU limit of a replica; empty: no limit, so that the replica is not throttled.")
    memory: str = setting("256Mi", "Memory request of a replica. Inception V3 takes 95 MB (int8) or 165 MB (fp32).")
    memory_limit: str = setting(MEMORY_LIMIT, "Memory limit of a replica; a 50-megapixel PNG takes 290 MB.")
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

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for name in ("cpu", "cpu_limit", "memory", "memory_limit"):
            value = getattr(self, name)
            if not QUANTITY_PATTERN.fullmatch(value) and (value or not name.endswith("limit")):
                yield name, f"must be a quantity such as 250m or 256Mi (got {value!r})"
        for name in ("image", "agent_image", "agent_camera_image", "agent_s3_image", "trainer_image"):
            value = getattr(self, name)
            if value and "@sha256:" not in value:
                yield name, f"must name a digest, REPOSITORY@sha256:..., as a tag can be moved (got {value!r})"
        if self.dead_letter_sink and not self.dead_letter_sink.startswith(("http://", "https://")):
            yield "dead_letter_sink", f"must start with http:// or https:// (got {self.dead_letter_sink!r})"
        for text in self.dns:
            try:
                parse_resolver(text)
            except ValueError:
                yield "dns", f"must be NAMESPACE/LABEL=VALUE[:PORT], an address or a network (got {text!r})"
        if not NAME_PATTERN.fullmatch(self.broker):
            yield "broker", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {self.broker!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """Settings of the rollout of a new revision: the section `rollout` of eaves.yaml."""

    steps: tuple[str, ...] = setting(
        ("10", "50"),
        "Shares of requests, in percent, that the new revision gets step by step before it gets all; the last "
        "step decides fastest at 50.",
    )
    step_s: float = setting(60.0, "Minimum duration of each step, seconds.", minimum=1, maximum=86400)
    deadline_s: float = setting(
        7200.0,
        "Seconds after which a rollout whose step is still undecided is held for a user to decide: the old revision "
        "gets all requests, and the new one is never promoted automatically.",
        minimum=1,
        maximum=30 * 86400,
    )
    min_requests: int = setting(
        20,
        "Minimum number of requests that the new revision must have answered in a step before it is judged.",
        minimum=1,
    )
    max_error_increase: float = setting(
        0.01,
        "Maximum increase of the share of failed requests (5xx), and of refused ones (4xx), over the old revision's. "
        "The last step passes "
        "only if such an increase is ruled out, which takes about 460 requests at 0.01, 75 at 0.05 and 35 at 0.1 "
        "if none fails.",
        minimum=0,
        maximum=1,
    )
    max_latency_ratio: float = setting(
        1.5,
        "Maximum ratio of the new revision's mean time for a prediction to the old revision's.",
        minimum=1,
        maximum=100,
    )

    def percents(self) -> tuple[int, ...]:
        """Return the share of the new revision in each step of a rollout in percent; the last one is 100."""
        return (*(int(step) for step in self.steps), 100)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        numbers = [int(step) if step.isdecimal() else 0 for step in self.steps]
        if any(not 1 <= number <= 99 for number in numbers) or numbers != sorted(set(numbers)):
            yield "steps", f"must be increasing whole numbers from 1 to 99 (got {', '.join(self.steps)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """One site: a context of the kubeconfig and a namespace."""

    name: str = setting("", "Name of the site, which is part of its events' source: /eaves/SITE/NAME.")
    context: str = setting("", "Context of the kubeconfig for the site's cluster; empty: the current context.")
    namespace: str = setting("", "Namespace of the site; empty: the namespace of the context.")
    selector: dict[str, str] = setting(
        dict,
        "Labels of the nodes that run the function, if the site is a part of a larger cluster. Needs Knative's "
        "feature flag kubernetes.podspec-nodeselector, and keeps one replica running.",
    )
    wave: int = setting(
        1, "Number of the wave in which the site is deployed; sites of a lower wave come first.", minimum=1, maximum=100
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for field, value in (("name", self.name), ("namespace", self.namespace or "x")):
            if not NAME_PATTERN.fullmatch(value):
                yield field, f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {value!r})"

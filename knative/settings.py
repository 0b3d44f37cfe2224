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
        "", "The function's container image by digest, as `eaves package` prints it; `eaves deploy` may name another."
    )
    agent_image: str = setting("", "The agents' container image by digest (Dockerfile, target `agent`).")
    trainer_image: str = setting("", "The trainer's container image by digest (Dockerfile, target `trainer`).")
    pull_secret: str = setting("", "Secret by which nodes fetch container images; empty: none is needed.")
    broker: str = setting("eaves", "The Broker that events go through, in the function's namespace.")
    create_broker: bool = setting(True, "Make that Broker; no: it is there already and somebody else's.")
    broker_class: str = setting(
        "", "Class of a Broker that is made; empty: the cluster's default, which mostly keeps events in memory only."
    )
    dead_letter_sink: str = setting(
        "",
        "The http(s) address that gets the events that triggers without a sink of their own give up on, the function's "
        "among them; empty: the broker drops them.",
    )
    public: bool = setting(
        False, "Whether the function has an address outside the cluster; no: only what runs in it reaches it."
    )
    cpu: str = setting("250m", "Processor time asked for a replica; Knative's own sidecar adds 25m.")
    cpu_limit: str = setting("", "Most processor time of a replica; empty: no limit, so that nothing throttles it.")
    memory: str = setting("256Mi", "Memory asked for a replica. Inception V3 takes 95 MB int8, 165 MB fp32.")
    memory_limit: str = setting(MEMORY_LIMIT, "Most memory of a replica; a 50-megapixel PNG takes 290 MB.")
    pin: bool = setting(
        True,
        "Keep the function's container image on every edge node by a small pod of its own, so that it starts from "
        "zero with the registry out of reach.",
    )
    network_policy: bool = setting(
        True,
        "Let in only Knative and the gateway, and out only to `knative.dns` and the hosts of `function.dataref_hosts`.",
    )
    dns: tuple[str, ...] = setting(
        (CLUSTER_DNS,),
        "Where the function may look up names, with `network_policy`: pods as NAMESPACE/LABEL=VALUE, with :PORT unless "
        "they listen at 53, or addresses, such as 169.254.20.10 of a node-local DNS cache.",
    )
    agent_namespace: str = setting(
        "eaves-agents", "Namespace of agents that read folders of their nodes: it is made, and lets them."
    )
    gateway_namespace: str = setting("kourier-system", "Namespace of the gateway that lets requests in.")

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for name in ("cpu", "cpu_limit", "memory", "memory_limit"):
            value = getattr(self, name)
            if not QUANTITY_PATTERN.fullmatch(value) and (value or not name.endswith("limit")):
                yield name, f"must be a quantity such as 250m or 256Mi (got {value!r})"
        for name in ("image", "agent_image", "trainer_image"):
            value = getattr(self, name)
            if value and "@sha256:" not in value:
                yield name, f"must name a digest, REPOSITORY@sha256:...: a tag can move (got {value!r})"
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
        "Shares of requests, percent, that it gets before it gets all; the last one decides fastest at 50.",
    )
    step_s: float = setting(60.0, "Seconds each step lasts at least.", minimum=1, maximum=86400)
    deadline_s: float = setting(
        7200.0,
        "Seconds after which a step that is still undecided is held there for somebody to decide; never promoted.",
        minimum=1,
        maximum=30 * 86400,
    )
    min_requests: int = setting(
        20, "Requests the new revision must have answered in a step before it is judged.", minimum=1
    )
    max_error_increase: float = setting(
        0.01,
        "How much its share of failed requests (5xx) may be above the old revision's. The last step passes only when "
        "such an increase is ruled out: about 460 requests at 0.01, 75 at 0.05 and 35 at 0.1 if none fails.",
        minimum=0,
        maximum=1,
    )
    max_latency_ratio: float = setting(
        1.5, "How many times the old revision's mean time for a prediction it may take.", minimum=1, maximum=100
    )

    def percents(self) -> tuple[int, ...]:
        """Return the rollout's steps as numbers in percent, ending with 100."""
        return (*(int(step) for step in self.steps), 100)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        numbers = [int(step) if step.isdecimal() else 0 for step in self.steps]
        if any(not 1 <= number <= 99 for number in numbers) or numbers != sorted(set(numbers)):
            yield "steps", f"must be whole numbers from 1 to 99, rising (got {', '.join(self.steps)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """One site: a context of the kubeconfig and a namespace."""

    name: str = setting("", "Name of the site, in its events' source: /eaves/SITE/NAME.")
    context: str = setting("", "Context of the kubeconfig; empty: the current one.")
    namespace: str = setting("", "Namespace; empty: the context's own.")
    selector: dict[str, str] = setting(
        dict,
        "Labels of the nodes that run the function, where the site is part of a larger cluster. Needs Knative's "
        "feature flag kubernetes.podspec-nodeselector, and keeps one replica running.",
    )
    wave: int = setting(1, "Sites of a lower wave come first.", minimum=1, maximum=100)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for field, value in (("name", self.name), ("namespace", self.namespace or "x")):
            if not NAME_PATTERN.fullmatch(value):
                yield field, f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter (got {value!r})"

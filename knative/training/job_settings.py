"""Settings of trainings on a cluster: the section `job` of eaves.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.platform import QUANTITY_PATTERN


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """Settings of a training's Job on a cluster, and of the run that it leaves."""

    context: str = setting("", "Context of the kubeconfig, of the cluster that trains; empty: the current one.")
    namespace: str = setting("", "Namespace that trains; empty: the context's own.")
    data: str = setting(
        "",
        "Where pods find the images: a URI, or a path in the volume `data_claim`; empty: all of that volume, or "
        "without one `data.path`, which then must be a URI.",
    )
    data_claim: str = setting("", "PersistentVolumeClaim with the images; it is mounted at /data, read-only.")
    output: str = setting(
        "", "URI below which runs go, each training's under a name of its own: s3://models/runs. Or `output_claim`."
    )
    output_claim: str = setting("", "PersistentVolumeClaim that runs go to; it is mounted at /runs.")
    work_claim: str = setting(
        "",
        "PersistentVolumeClaim that keeps downloads, features and artifacts for the next training; empty: a pod's own "
        "disk, which goes with it.",
    )
    work_size: str = setting("20Gi", "Most that a pod may keep on its node's disk: downloads, features, the run.")
    secret: str = setting(
        "", "Secret whose entries become environment variables: AWS_ACCESS_KEY_ID and what else storage asks for."
    )
    service_account: str = setting(
        "", "ServiceAccount of the pods, where storage knows them by it; empty: the namespace's default, without token."
    )
    cpu: str = setting("2", "Processor time asked for a pod.")
    memory: str = setting("4Gi", "Memory asked for a pod; Inception V3 frozen takes 2, in full at batch 16 3.")
    memory_limit: str = setting("", "Most memory of a pod; empty: the node's.")
    shards: int = setting(
        1, "Pods that share out the pass through the backbone (an Indexed Job).", minimum=1, maximum=100
    )
    queue: str = setting("", "Kueue's LocalQueue that lets trainings in; empty: they start at once.")
    retries: int = setting(
        4, "Failed pods after which it is given up; a pod that had to make room doesn't count.", minimum=0, maximum=100
    )
    deadline_s: int = setting(0, "Seconds that a training may take, waiting included; 0: no end.", minimum=0)
    ttl_s: int = setting(86400, "Seconds that a finished Job and its logs are kept.", minimum=0, maximum=2**31 - 1)
    grace_s: int = setting(
        60, "Seconds that a pod has for its checkpoint when it must make room.", minimum=5, maximum=3600
    )
    repository: str = setting(
        "",
        "Where a pipeline puts the function's container image: HOST/REPOSITORY; its tag is the model's version unless "
        "one is given.",
    )
    base: str = setting(
        "",
        "The plain Python that a pipeline builds on, by digest for the same bytes each time; of the same minor version "
        "as the trainer's container image (3.13).",
    )
    platforms: tuple[str, ...] = setting(
        (), "What that container image must run on: linux/amd64, linux/arm64; none: the training node's own."
    )
    push_secret: str = setting(
        "", "Secret of type kubernetes.io/dockerconfigjson by which a pipeline gets the base and pushes."
    )
    plain_http: bool = setting(False, "Whether the pipeline's registry is reached without TLS.")
    sink: str = setting(
        "", "The http(s) address that gets `model.published`; empty: the Broker `knative.broker`, by a SinkBinding."
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        for name in ("cpu", "memory", "memory_limit", "work_size"):
            value = getattr(self, name)
            if not QUANTITY_PATTERN.fullmatch(value) and (value or not name.endswith("limit")):
                yield name, f"must be a quantity such as 500m or 4Gi (got {value!r})"
        if self.namespace and not NAME_PATTERN.fullmatch(self.namespace):
            yield "namespace", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter ({self.namespace!r})"
        if self.output and "://" not in self.output:
            yield "output", f"must be a URI such as s3://models/runs (got {self.output!r})"
        if self.output and self.output_claim:
            yield "output_claim", "can't be set together with output"
        if self.data_claim and "://" in self.data:
            yield "data", f"must be a path in the volume {self.data_claim} (got {self.data!r})"
        if "@" in self.repository:
            yield "repository", f"can't name a digest: content decides it (got {self.repository!r})"
        if self.sink and not self.sink.startswith(("http://", "https://")):
            yield "sink", f"must start with http:// or https:// (got {self.sink!r})"

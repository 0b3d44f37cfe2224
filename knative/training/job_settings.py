"""Settings of trainings on a cluster: the section `job` of eaves.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eaves.base.names import NAME_PATTERN
from eaves.config import setting
from eaves.platform import QUANTITY_PATTERN


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """Settings of a training's Job on a cluster, and of the run that the Job leaves."""

    context: str = setting("", "Context of the kubeconfig for the cluster that trains; empty: the current context.")
    namespace: str = setting("", "Namespace of the training Job; empty: the namespace of the context.")
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
    work_size: str = setting("20Gi", "Maximum size of a pod's files on its node's disk: downloads, features, the run.")
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
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield violations of rules that concern several fields, as (field, message)."""
        if not QUANTITY_PATTERN.fullmatch(self.work_size):
            yield "work_size", f"must be a quantity such as 4Gi (got {self.work_size!r})"
        if self.namespace and not NAME_PATTERN.fullmatch(self.namespace):
            yield "namespace", f"must be 1-40 characters a-z, 0-9 and '-', starting with a letter ({self.namespace!r})"
        if self.output and "://" not in self.output:
            yield "output", f"must be a URI such as s3://models/runs (got {self.output!r})"
        if self.output and self.output_claim:
            yield "output_claim", "can't be set together with `job.output`"
        if self.data_claim and "://" in self.data:
            yield "data", f"must be a path in the volume {self.data_claim} (got {self.data!r})"
        if "@" in self.repository:
            yield "repository", f"must not name a digest, which depends on the content (got {self.repository!r})"
        if self.sink and not self.sink.startswith(("http://", "https://")):
            yield "sink", f"must start with http:// or https:// (got {self.sink!r})"

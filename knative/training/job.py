"""Builder of the Kubernetes Job of a training.

The Job's name contains a digest of its spec, so equal trainings have the same Job. When the pod is lost, a new pod
resumes the training. When the training fails for a reason that doesn't go away by repeating it, the Job fails at once.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/; podFailurePolicy is stable since 1.31.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from converters.settings import ConvertSettings, PipelineSettings
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.config.complete import FLAG, collect_settings, render_complete
from eaves.errors import Fault
from knative.client.kinds import JOB
from knative.resources.metadata import RUN_LABEL, labels
from knative.resources.pod import (
    USER,
    Mounted,
    build_env,
    build_pod,
    common_fragment,
    find_fragment_faults,
)
from knative.resources.workload import Workload
from knative.settings import KnativeSettings
from knative.training.job_settings import JobSettings
from trainer.data.remote import redact_uri
from trainer.lifecycle import ENDINGS
from trainer.settings import DataSettings, TrainSettings
from trainer.storage import is_uri

PART = "training"
CONTAINER = "trainer"
COMMAND = ("python", "-P", "-m", "trainer")
DATA, RUNS, WORK = "/data", "/runs", "/scratch"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Label of a Job with its queue in Kueue, which suspends the Job until the Job's resource requests can be met.

Source: Kueue, docs/tasks/run/jobs.
"""
RESOURCES = {"requests": {"cpu": "2", "memory": "4Gi"}}
"""Resources of a training's container, which the fragment `job.pod` may change."""
CHANGEABLE = ("activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
"""Fields of a Job's spec that may be changed after its creation. Source: kubernetes, pkg/apis/batch/validation."""
DATA_VARIABLE, WEIGHTS_VARIABLE = "EAVES_DATA_PATH", "EAVES_TRAIN_WEIGHTS"
"""Environment variables that override settings of a Job; they may come from a Secret."""
_NOT_DECIDING = ("checkpoint_s", "cache", "usable_accuracy")
_HASH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """A training on a cluster, with all its settings.

    Attributes:
        name: Name of the model and the app.
        site: Site in the objects' labels and in the `source` of the training's events.
        namespace: Namespace of the objects; when it is empty, kubectl's `-n` decides.
        data: Settings of the images.
        train: Settings of the training.
        convert: Settings of the conversion in a pipeline.
        pipeline: Conditions under which a pipeline publishes the model.
        job: Settings of the Job on a cluster.
        knative: Settings with the trainer's container image, its pull secret, and the Broker.
        run: Name of the run if the user chose one. With another name, equal settings are another training.
    """

    name: str
    site: str
    data: DataSettings
    train: TrainSettings
    job: JobSettings
    knative: KnativeSettings
    convert: ConvertSettings = field(default_factory=ConvertSettings)
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    namespace: str = ""
    run: str = ""

    def describe(self, name: str, part: str, own: Mapping[str, str] = MappingProxyType({})) -> Workload:
        """Return what all objects of a part of the training have: their name, namespace and labels."""
        made = {**labels(self.name, self.site, part), **own}
        return Workload(name=name, namespace=self.namespace, labels=made, selector={})

    @property
    def fragment(self) -> dict[str, Any]:
        """The user's fields of the training's pods."""
        return common_fragment(self.knative.pod, self.job.pod)

    @property
    def images(self) -> str:
        """Path or URI of the training images, as seen from a pod."""
        if self.job.data_claim:
            return f"{DATA}/{self.job.data.strip('/')}".rstrip("/")
        return self.job.data or str(self.data.path)

    @property
    def place(self) -> str:
        """Path or URI below which runs are stored, as seen from a pod."""
        return RUNS if self.job.output_claim else self.job.output.rstrip("/")

    @property
    def run_name(self) -> str:
        """Name of the run. It is the same for the same training, also when its pods get more memory."""
        settings = self.train.to_dict() | {"near_copies": self.data.near_copies, "group_by": self.data.group_by}
        deciding = {key: value for key, value in settings.items() if key not in _NOT_DECIDING}
        parts = [self.images, self.data.balance, deciding, self.knative.trainer_image, self.place, self.run]
        return f"{self.run or self.name}-{_digest([*parts, self.job.output_claim, self.job.data_claim])}"

    @property
    def output(self) -> str:
        """Path or URI of the run."""
        return f"{self.place}/{self.run_name}"


def fault(path: str, message: str) -> Fault:
    """Return a fault of eaves.yaml."""
    return Fault(origin="eaves.yaml", path=path, message=message)


def training_faults(training: TrainingJob) -> Iterator[Fault]:
    """Yield the faults of eaves.yaml that prevent a training on a cluster."""
    job = training.job
    if not training.knative.trainer_image:
        yield fault("knative.trainer_image", "must name the trainer's container image by digest")
    if not job.output and not job.output_claim:
        yield fault("job.output", "must be a URI that runs are written to, unless `job.output_claim` names a volume")
    if not job.data_claim and not is_uri(training.images):
        yield fault(
            "job.data",
            f"must be a URI, unless `job.data_claim` names a volume; {training.images!r} is a path on this machine",
        )
    for section, fragment in (("knative", training.knative.pod), ("job", job.pod)):
        for path, message in find_fragment_faults(fragment):
            yield fault(f"{section}.pod.{path}", message)
    secret = (("job.data", training.images, DATA_VARIABLE), ("train.weights", training.train.weights, WEIGHTS_VARIABLE))
    for path, uri, variable in secret:
        if redact_uri(uri) != uri:
            message = (
                "must not have a password, signature or query, as everyone who can read Jobs can read it "
                f"({redact_uri(uri)}?...)"
            )
            yield fault(path, f"{message}; store the whole URI as {variable} in the Secret that job.secret names")
    weights = training.train.weights
    if training.train.weights_kind == "file" and not is_uri(weights) and not weights.startswith(f"{DATA}/"):
        message = (
            f"must be a URI, or a path below {DATA}, where the volume `job.data_claim` is mounted (got {weights!r})"
        )
        yield fault("train.weights", message)


def build_job(training: TrainingJob) -> dict[str, Any]:
    """Build the Job of a training. Its name depends on its spec, so applying it twice gives one Job.

    Two Jobs that differ only in resources, such as memory, make the same run, so only one may run at a time.
    """
    arguments = [f"--output={training.output}", f"--name={training.name}", settings_option(training)]
    return name_job(training, PART, build_spec(training, PART, COMMAND, arguments))


def name_job(training: TrainingJob, part: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Build a Job whose name contains a digest of the spec's immutable fields.

    So a Job with another spec has another name, and an equal one has the same name.
    """
    fixed = {key: value for key, value in spec.items() if key not in CHANGEABLE}
    short = {PART: "train"}.get(part, part)
    own = job_labels(training) | {RUN_LABEL: training.run_name}
    return training.describe(f"{training.name}-{short}-{_digest(fixed)}", part, own).build(JOB, spec)


def job_labels(training: TrainingJob) -> dict[str, str]:
    """Return the labels of a Job in addition to the labels of its app."""
    return {QUEUE_LABEL: training.job.queue} if training.job.queue else {}


def build_spec(
    training: TrainingJob,
    part: str,
    command: Sequence[str],
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] = MappingProxyType({}),
    folders: Sequence[Mounted] = (),
    codes: Sequence[int] = (),
) -> dict[str, Any]:
    """Build a Job's spec with one container.

    Args:
        training: The training.
        part: Part of the app, the value of `knative.resources.metadata.PART_LABEL`.
        command: Command of the container.
        arguments: Arguments of the command.
        env: Its environment variables besides those that every training has.
        folders: Its folders besides those that every training has.
        codes: Exit codes, in addition to the trainer's, after which the Job fails at once, since another pod would fail
            the same way.
    """
    job, image = training.job, training.knative.trainer_image
    spec: dict[str, Any] = {
        "backoffLimit": job.retries,
        "ttlSecondsAfterFinished": job.ttl_s,
        "podFailurePolicy": {"rules": _failure_rules(codes)},
    }
    if job.deadline_s:
        spec["activeDeadlineSeconds"] = job.deadline_s
    owned = job.output_claim or job.work_claim
    group: dict[str, Any] = (
        {"securityContext": {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}} if owned else {}
    )
    pod = build_pod(
        CONTAINER,
        image,
        training.fragment,
        command=command,
        args=arguments,
        env=build_env({**TELEMETRY_OFF, "EAVES_WORK": WORK, "KERAS_HOME": f"{WORK}/keras", **env}),
        resources=RESOURCES,
        folders=[*_folders(training), *folders],
        temporary=job.work_size,
        container={"envFrom": [{"secretRef": {"name": job.secret}}]} if job.secret else None,
        restartPolicy="Never",
        terminationGracePeriodSeconds=job.grace_s,
        **group,
    )
    template = {"metadata": {"labels": labels(training.name, training.site, part)}, "spec": pod}
    return {**spec, "template": template}


def _failure_rules(codes: Sequence[int]) -> list[dict[str, Any]]:
    """Build the rules of a Job's podFailurePolicy.

    The first matching rule decides; a failure without a matching rule counts against `backoffLimit`.
    """
    of = {action: [ending.code for ending in ENDINGS if ending.action == action] for action in ("Ignore", "FailJob")}
    of["FailJob"] += codes
    drained = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    rules = [
        {"action": action, "onExitCodes": {"operator": "In", "values": sorted(values)}} for action, values in of.items()
    ]
    return [drained, *rules]


def settings_option(training: TrainingJob, *, by_event: bool = False, publishes: bool = False) -> str:
    """Build the command line option with the complete settings of a training.

    It is an option and not an environment variable. A trainer of another version that doesn't know the option ends with
    an exit code after which it is not started again, while it would ignore an unknown variable and train with its own
    defaults.

    Args:
        training: The training.
        by_event: Whether an event names the images.
        publishes: Whether the model is converted and published too.
    """
    prefixes = training.data.allowed_prefixes if by_event else ()
    data = replace(training.data, path=training.images, allowed_prefixes=prefixes)
    sections = {
        "data": collect_settings(data, without=("path",) if by_event else ()),
        "train": collect_settings(training.train),
    }
    if publishes:
        sections |= {"convert": collect_settings(training.convert), "pipeline": collect_settings(training.pipeline)}
    return f"{FLAG}={render_complete(sections)}"


def _folders(training: TrainingJob) -> Iterator[Mounted]:
    """Yield (volume, mount) of each folder that a training's pod reads or writes; its root file system is read-only."""
    job = training.job
    room = {"emptyDir": {"sizeLimit": job.work_size}}
    yield {"name": "work", **(_claim(job.work_claim) if job.work_claim else room)}, {"name": "work", "mountPath": WORK}
    if job.data_claim:
        mount = {"name": "data", "mountPath": DATA, "readOnly": True}
        yield {"name": "data", **_claim(job.data_claim, read_only=True)}, mount
    if job.output_claim:
        yield {"name": "runs", **_claim(job.output_claim)}, {"name": "runs", "mountPath": RUNS}


def _claim(name: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name, **({"readOnly": True} if read_only else {})}}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]

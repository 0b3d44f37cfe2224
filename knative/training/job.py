"""Builders of the Kubernetes Job of a training, and of a pipeline: train > convert > judge > package > push > event.

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
from urllib.parse import urlsplit

from converters.settings import ConvertSettings, PipelineSettings
from eaves.base.telemetry import TELEMETRY_OFF
from eaves.config.complete import FLAG, collect_settings, render_complete
from eaves.errors import ConfigError, Fault, RefusedModelError
from eaves.events import DATASET_UPDATED
from eaves.platform import DeliverySettings
from knative.client.kinds import BROKER, JOB, JOB_SINK, SINK_BINDING, TRIGGER
from knative.resources.eventing import build_delivery
from knative.resources.metadata import APP_LABEL, PART_LABEL, RUN_LABEL, labels, reference
from knative.resources.pod import (
    USER,
    Mounted,
    build_env,
    build_pod,
    common_fragment,
    find_fragment_faults,
)
from knative.resources.workload import Workload
from knative.settings import JobSettings, KnativeSettings
from trainer.data.remote import redact_uri
from trainer.lifecycle import EXIT_CODES
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
    of = {action: [ending.code for ending in EXIT_CODES if ending.action == action] for action in ("Ignore", "FailJob")}
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


# One container runs a pipeline's steps one after the other (`eaves pipeline`), each as a process: JobSink gives init
# containers no event. Every step may be repeated: a finished run is found, a finished artifact too if `job.work_claim`
# keeps it, a push doesn't change existing content, and the event has the same id.
#
# A JobSink makes such a Job, or only a training's if no repository to push to is set, when a Trigger sends it the event
# of a changed data set, which names the data; the run is stored at OUTPUT/IDENTITY. Knative's webhook checks a JobSink
# by a strict dry run of its Job, so the Job must be complete without K_EVENT_PATH and the volume `jobsink-event`, which
# JobSink adds to `containers` only.
#
# Source: knative/eventing v1.22, cmd/jobsink/main.go and pkg/apis/sinks/v1alpha1/job_sink_validation.go.
PIPELINE, JOBSINK = "pipeline", "jobsink"
PIPELINE_COMMAND = ("python", "-P", "-m", "eaves.cli", "pipeline")
DOCKER = "/docker"
FAILING = (66, 77, RefusedModelError.exit_code)
"""Exit codes, in addition to the trainer's, after which the Job fails at once, since another pod would fail the same
way.

They stand for a missing base image, a registry that denies access, and a model that is not good enough. A failed
conversion (70) is tried again: images that are unavailable at the moment may be the cause, and the run is kept."""


def find_faults(training: TrainingJob, kind: str) -> Iterator[Fault]:
    """Yield the faults of eaves.yaml that prevent a training, a pipeline, or a start of either by events."""
    by_event = kind == JOBSINK  # the event names the images
    for one in training_faults(training):
        if not (by_event and one.path in ("job.data", "data.path")):
            yield one
    if by_event and not training.data.allowed_prefixes:
        message = "must list the URI prefixes that events may name images under, such as s3://photos"
        yield fault("data.allowed_prefixes", message)
    job, handler = training.job, training.convert.handler
    if kind != PIPELINE and not (by_event and job.repository):
        return
    if not job.repository:
        yield fault("job.repository", "must name the repository of the function's container image: HOST/REPOSITORY")
    if not job.base:
        yield fault(
            "job.base",
            "must name the base container image with Python, which the function's container image is built on",
        )
    if "@" in urlsplit(job.sink).netloc:
        yield fault("job.sink", "must not have a password, as everyone who can read Jobs can read it")
    if handler and not handler.startswith(f"{DATA}/"):
        message = f"must be a path below {DATA}, where the volume `job.data_claim` is mounted (got {handler!r})"
        yield fault("convert.handler", message)


def build_pipeline(training: TrainingJob) -> dict[str, Any]:
    """Build the Job of a pipeline; applying it twice gives one Job."""
    spec = build_spec_for(training, training.output)
    return name_job(training, PIPELINE, spec)


def build_spec_for(training: TrainingJob, output: str, *, by_event: bool = False) -> dict[str, Any]:
    """Build the spec of a pipeline's Job, for images that the settings or an event name.

    Args:
        training: The training.
        output: Path or URI below which runs are stored, or of the run itself.
        by_event: Whether an event names the images.
    """
    job = training.job
    arguments = [f"--output={output}", f"--name={training.name}", f"--site={training.site}"]
    arguments += [f"--tag={_target(job.repository)}", f"--base={job.base}"]
    arguments += [f"--platform={platform}" for platform in job.platforms]
    arguments += ["--plain-http"] if job.plain_http else []
    arguments += ["--allow-handler"] if training.convert.handler else []
    arguments += [f"--published-to={job.sink}"] if job.sink else []
    arguments.append(settings_option(training, by_event=by_event, publishes=True))
    places = {"XDG_CACHE_HOME": f"{WORK}/cache", **({"DOCKER_CONFIG": DOCKER} if job.push_secret else {})}
    items = [{"key": ".dockerconfigjson", "path": "config.json"}]
    volume = {"name": "docker", "secret": {"secretName": job.push_secret, "items": items}}
    logins = [(volume, {"name": "docker", "mountPath": DOCKER, "readOnly": True})] if job.push_secret else []
    return build_spec(training, PIPELINE, PIPELINE_COMMAND, arguments, env=places, folders=logins, codes=FAILING)


def build_binding(training: TrainingJob) -> dict[str, Any]:
    """Build the SinkBinding that sets the variable `K_SINK`, the address for a pipeline's event.

    With `job.sink`, the event goes to the address in that setting instead. The SinkBinding must be ready before a Job
    is made, because the variables of a Job's pods can't be changed later.
    """
    chosen = {"matchLabels": {APP_LABEL: training.name, PART_LABEL: PIPELINE}}
    subject: dict[str, Any] = {"apiVersion": JOB.api_version, "kind": JOB.kind}
    if training.namespace:
        subject["namespace"] = training.namespace
    sink = {"ref": reference(BROKER, training.knative.broker, training.namespace)}
    spec = {"subject": {**subject, "selector": chosen}, "sink": sink}
    return training.describe(f"{training.name}-{PIPELINE}", PIPELINE).build(SINK_BINDING, spec)


def _target(repository: str) -> str:
    """Return the name to push to: the repository with the model's version as its tag, unless it has a tag already."""
    return repository if ":" in repository.rpartition("/")[2] else f"{repository}:{{version}}"


ACCEPT_S = 30.0
"""Maximum seconds that the Trigger waits for the JobSink's answer, which comes once the Job and the event's Secret
exist."""


def build_jobsink(training: TrainingJob) -> dict[str, Any]:
    """Build the JobSink, which makes a Job for each event of a changed data set."""
    place = f"{training.place}/{training.name}"
    if training.job.repository:
        part, spec = PIPELINE, build_spec_for(training, place, by_event=True)
    else:
        arguments = [f"--output={place}", f"--name={training.name}", settings_option(training, by_event=True)]
        part, spec = PART, build_spec(training, PART, COMMAND, arguments)
    job = {"metadata": {"labels": training.describe("", part, job_labels(training)).labels}, "spec": spec}
    return training.describe(_name(training), PART).build(JOB_SINK, {"job": job})


def build_dataset_trigger(training: TrainingJob) -> dict[str, Any]:
    """Build the Trigger that sends `dataset.updated` events of the Broker to the JobSink."""
    spec = {
        "broker": training.knative.broker,
        "filter": {"attributes": {"type": DATASET_UPDATED}},
        "subscriber": {"ref": reference(JOB_SINK, _name(training), training.namespace)},
        "delivery": build_delivery(DeliverySettings(timeout_s=ACCEPT_S), training.knative.sink_of_all()),
    }
    return training.describe(_name(training), PART).build(TRIGGER, spec)


def _name(training: TrainingJob) -> str:
    return f"{training.name}-dataset"


def render_training(training: TrainingJob, kind: str) -> tuple[dict[str, Any], ...]:
    """Render the objects of a training, in the order of applying: the output of `eaves render --training`.

    Args:
        training: The training.
        kind: `job`: one training; `pipeline`: a training with all later steps; `jobsink`: the start of either of them
            when a data set has changed.

    Raises:
        ConfigError: When eaves.yaml has faults that prevent the purpose; the error lists them all.
    """
    if found := list(find_faults(training, kind)):
        raise ConfigError(found)
    if kind not in (PIPELINE, JOBSINK):
        return (build_job(training),)
    publishes = kind == PIPELINE or training.job.repository
    binding = (build_binding(training),) if publishes and not training.job.sink else ()
    if kind == PIPELINE:
        return (*binding, build_pipeline(training))
    return (*binding, build_jobsink(training), build_dataset_trigger(training))

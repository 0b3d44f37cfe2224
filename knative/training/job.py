"""Builders of the Kubernetes Job of a training, and of a pipeline: train > convert > judge > package > push > event.

The Job's name contains a digest of its spec, so equal trainings have the same Job. When the pod is lost, a new pod
resumes the training. When the training fails for a reason that doesn't go away by repeating it, the Job fails at once.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/; podFailurePolicy is stable since 1.31.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
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
from knative.client.kinds import BROKER, JOB, JOB_SINK, SINK_BINDING, TRIGGER, Labels, Manifest
from knative.resources.eventing import build_delivery
from knative.resources.metadata import APP_LABEL, PART_LABEL, RUN_LABEL, labels, reference
from knative.resources.pod import (
    USER,
    Mounted,
    build_env,
    build_environment,
    build_login,
    build_pod,
    common_fragment,
    find_fragment_faults,
)
from knative.resources.workload import Workload
from knative.settings import Faults, JobSettings, KnativeSettings
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
PIPELINE, JOBSINK = "pipeline", "jobsink"
PIPELINE_COMMAND = ("python", "-P", "-m", "eaves.cli", "pipeline")
FAILING = (66, 77, RefusedModelError.exit_code)
"""Exit codes, in addition to the trainer's, after which the Job fails at once, since another pod would fail the same
way.

They stand for a missing base image, a registry that denies access, and a model that is not good enough. A failed
conversion (70) is tried again: images that are unavailable at the moment may be the cause, and the run is kept."""
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

    def describe(self, name: str, part: str, own: Labels = MappingProxyType({})) -> Workload:
        """Return what all objects of a part of the training have: their name, namespace and labels."""
        made = {**labels(self.name, self.site, part), **own}
        return Workload(name=name, namespace=self.namespace, labels=made, selector={})

    @property
    def fragment(self) -> Manifest:
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


def find_faults(training: TrainingJob, kind: str = "job") -> Iterator[Fault]:
    """Yield the faults of eaves.yaml that prevent a training, a pipeline, or a start of either by events."""
    by_event = kind == JOBSINK
    for path, message in _find_faults(training, by_event=by_event):
        yield Fault(origin="eaves.yaml", path=path, message=message)
    if kind == PIPELINE or (by_event and training.job.repository):
        for path, message in _find_pipeline_faults(training):
            yield Fault(origin="eaves.yaml", path=path, message=message)


def _find_faults(training: TrainingJob, *, by_event: bool) -> Faults:
    job, weights = training.job, training.train.weights
    if not training.knative.trainer_image:
        yield "knative.trainer_image", "must name the trainer's container image by digest"
    if not job.output and not job.output_claim:
        yield "job.output", "must be a URI that runs are written to, unless `job.output_claim` names a volume"
    if by_event and not training.data.allowed_prefixes:
        message = "must list the URI prefixes that events may name images under, such as s3://photos"
        yield "data.allowed_prefixes", message
    if not by_event and not job.data_claim and not is_uri(training.images):
        message = f"{training.images!r} is a path on this machine"
        yield "job.data", f"must be a URI, unless `job.data_claim` names a volume; {message}"
    if job.pods > 1 and training.train.resolved_mode != "sums":
        yield "job.pods", f"must be 1, unless train.mode is sums or train.task is anomaly (got {job.pods})"
    for section, fragment in (("knative", training.knative.pod), ("job", job.pod)):
        yield from ((f"{section}.pod.{path}", message) for path, message in find_fragment_faults(fragment))
    uris = [("train.weights", weights, WEIGHTS_VARIABLE)]
    uris += [] if by_event else [("job.data", training.images, DATA_VARIABLE)]
    for path, uri, variable in uris:
        if redact_uri(uri) != uri:
            message = (
                "must not have a password, signature or query, as everyone who can read Jobs can read it "
                f"({redact_uri(uri)}?...)"
            )
            yield path, f"{message}; store the whole URI as {variable} in the Secret that job.secret names"
    if training.train.weights_kind == "file" and not is_uri(weights) and not weights.startswith(f"{DATA}/"):
        message = f"where the volume `job.data_claim` is mounted (got {weights!r})"
        yield "train.weights", f"must be a URI, or a path below {DATA}, {message}"


def _find_pipeline_faults(training: TrainingJob) -> Faults:
    job, handler = training.job, training.convert.handler
    if not job.repository:
        yield "job.repository", "must name the repository of the function's container image: HOST/REPOSITORY"
    if not job.base:
        message = "which the function's container image is built on"
        yield "job.base", f"must name the base container image with Python, {message}"
    if "@" in urlsplit(job.sink).netloc:
        yield "job.sink", "must not have a password, as everyone who can read Jobs can read it"
    if handler and not handler.startswith(f"{DATA}/"):
        message = f"where the volume `job.data_claim` is mounted (got {handler!r})"
        yield "convert.handler", f"must be a path below {DATA}, {message}"


def build_job(training: TrainingJob, *, publishes: bool = False) -> Manifest:
    """Build the Job of a training, or of a pipeline that also publishes the model.

    Its name contains a digest of the spec's immutable fields, so applying it twice gives one Job. Two Jobs that differ
    only in resources, such as memory, make the same run, so only one may run at a time.
    """
    spec = _build_spec(training, training.output, publishes=publishes)
    fixed = {key: value for key, value in spec.items() if key not in CHANGEABLE}
    part, short = (PIPELINE, PIPELINE) if publishes else (PART, "train")
    own = _queue_labels(training) | {RUN_LABEL: training.run_name}
    return training.describe(f"{training.name}-{short}-{_digest(fixed)}", part, own).build(JOB, spec)


def _queue_labels(training: TrainingJob) -> dict[str, str]:
    return {QUEUE_LABEL: training.job.queue} if training.job.queue else {}


def _build_spec(training: TrainingJob, output: str, *, publishes: bool = False, by_event: bool = False) -> Manifest:
    """Build a Job's spec with one container.

    Args:
        output: Path or URI below which runs are stored, or of the run itself.
        publishes: Whether the model is converted and published too.
        by_event: Whether an event names the images.
    """
    job, folders = training.job, [*_folders(training)]
    arguments = [f"--output={output}", f"--name={training.name}", f"--parts={job.pods}"]
    places = {"EAVES_WORK": WORK, "KERAS_HOME": f"{WORK}/keras"}
    if publishes:
        arguments += _list_publication(training)
        places["XDG_CACHE_HOME"] = f"{WORK}/cache"
        logins, mounted = build_login(job.push_secret)
        places |= logins
        folders += mounted
    arguments.append(_settings_option(training, by_event=by_event, publishes=publishes))
    fields: Manifest = {}
    if job.output_claim or job.work_claim:
        fields["securityContext"] = {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    pod = build_pod(
        CONTAINER,
        training.knative.trainer_image,
        training.fragment,
        command=PIPELINE_COMMAND if publishes else COMMAND,
        args=arguments,
        env=build_env({**TELEMETRY_OFF, **places}),
        resources=RESOURCES,
        folders=folders,
        temporary=job.work_size,
        container=build_environment(job.secret),
        restartPolicy="Never",
        terminationGracePeriodSeconds=job.grace_s,
        **fields,
    )
    made = labels(training.name, training.site, PIPELINE if publishes else PART)
    return {
        **({"completionMode": "Indexed", "completions": job.pods, "parallelism": job.pods} if job.pods > 1 else {}),
        "backoffLimit": job.retries,
        "ttlSecondsAfterFinished": job.ttl_s,
        "podFailurePolicy": {"rules": _failure_rules(FAILING if publishes else ())},
        **({"activeDeadlineSeconds": job.deadline_s} if job.deadline_s else {}),
        "template": {"metadata": {"labels": made}, "spec": pod},
    }


def _list_publication(training: TrainingJob) -> Iterator[str]:
    """Yield the arguments of a pipeline besides those of a training."""
    job = training.job
    # The tag is the model's version, unless the repository has a tag already.
    tag = job.repository if ":" in job.repository.rpartition("/")[2] else f"{job.repository}:{{version}}"
    yield from (f"--site={training.site}", f"--tag={tag}", f"--base={job.base}")
    yield from (f"--platform={platform}" for platform in job.platforms)
    if job.plain_http:
        yield "--plain-http"
    if training.convert.handler:
        yield "--allow-handler"
    if job.sink:
        yield f"--published-to={job.sink}"


def _failure_rules(codes: Sequence[int]) -> list[Manifest]:
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


def _settings_option(training: TrainingJob, *, by_event: bool, publishes: bool) -> str:
    """Build the command line option with the complete settings of a training.

    It is an option and not an environment variable. A trainer of another version that doesn't know the option ends with
    an exit code after which it is not started again, while it would ignore an unknown variable and train with its own
    defaults.

    Args:
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


def _claim(name: str, *, read_only: bool = False) -> Manifest:
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
def build_binding(training: TrainingJob) -> Manifest:
    """Build the SinkBinding that sets the variable `K_SINK`, the address for a pipeline's event.

    With `job.sink`, the event goes to the address in that setting instead. The SinkBinding must be ready before a Job
    is made, because the variables of a Job's pods can't be changed later.
    """
    chosen = {"matchLabels": {APP_LABEL: training.name, PART_LABEL: PIPELINE}}
    namespace = {"namespace": training.namespace} if training.namespace else {}
    subject = {"apiVersion": JOB.api_version, "kind": JOB.kind, **namespace, "selector": chosen}
    spec = {"subject": subject, "sink": {"ref": reference(BROKER, training.knative.broker, training.namespace)}}
    return training.describe(f"{training.name}-{PIPELINE}", PIPELINE).build(SINK_BINDING, spec)


ACCEPT_S = 30.0
"""Maximum seconds that the Trigger waits for the JobSink's answer, which comes once the Job and the event's Secret
exist."""


def build_jobsink(training: TrainingJob) -> Manifest:
    """Build the JobSink, which makes a Job for each event of a changed data set."""
    publishes = bool(training.job.repository)
    spec = _build_spec(training, f"{training.place}/{training.name}", publishes=publishes, by_event=True)
    made = training.describe("", PIPELINE if publishes else PART, _queue_labels(training)).labels
    job = {"metadata": {"labels": made}, "spec": spec}
    return training.describe(f"{training.name}-dataset", PART).build(JOB_SINK, {"job": job})


def build_dataset_trigger(training: TrainingJob) -> Manifest:
    """Build the Trigger that sends `dataset.updated` events of the Broker to the JobSink."""
    name = f"{training.name}-dataset"
    spec = {
        "broker": training.knative.broker,
        "filter": {"attributes": {"type": DATASET_UPDATED}},
        "subscriber": {"ref": reference(JOB_SINK, name, training.namespace)},
        "delivery": build_delivery(DeliverySettings(timeout_s=ACCEPT_S), training.knative.sink_of_all()),
    }
    return training.describe(name, PART).build(TRIGGER, spec)


def render_training(training: TrainingJob, kind: str) -> tuple[Manifest, ...]:
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
    publishes = kind == PIPELINE or (kind == JOBSINK and bool(training.job.repository))
    binding = (build_binding(training),) if publishes and not training.job.sink else ()
    if kind == JOBSINK:
        return (*binding, build_jobsink(training), build_dataset_trigger(training))
    return (*binding, build_job(training, publishes=publishes))

"""A pipeline in one Job: train > convert > judge > package > push > send `dev.eaves.model.published.v1`.

One container runs the steps one after the other (`eaves pipeline`), each as a process. Init containers can't run them,
because JobSink gives them no event. Every step may be repeated: a finished run is found, a finished artifact is found
if `job.work_claim` keeps it, a push doesn't change existing content, and the event has the same id.

A JobSink makes such a Job, or only a training's if no repository to push to is set, when a Trigger sends it the event
of a changed data set. The event names the data, and the run is stored at OUTPUT/IDENTITY. When the event comes again
after its Job was deleted, the Job finds the run and doesn't repeat the work.

Knative's webhook checks a JobSink by a strict dry run of its Job, so the Job must be complete without the fields that
JobSink adds later. JobSink adds K_EVENT_PATH and the volume `jobsink-event`, a Secret of at most a megabyte, to
`containers` and never to `initContainers`.

Source: knative/eventing v1.22, cmd/jobsink/main.go and pkg/apis/sinks/v1alpha1/job_sink_validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from eaves.errors import ConfigError, Fault, RefusedModelError
from eaves.events import DATASET_UPDATED
from eaves.platform import DeliverySettings
from knative.client.kinds import BROKER, JOB, JOB_SINK, SINK_BINDING, TRIGGER
from knative.resources.eventing import build_delivery
from knative.resources.metadata import APP_LABEL, PART_LABEL, reference
from knative.training.job import (
    COMMAND,
    DATA,
    PART,
    WORK,
    TrainingJob,
    build_job,
    build_spec,
    fault,
    job_labels,
    name_job,
    settings_option,
    training_faults,
)

PIPELINE, JOBSINK = "pipeline", "jobsink"
PIPELINE_COMMAND = ("python", "-P", "-m", "eaves.cli", "pipeline")
DOCKER = "/docker"
FAILING = (66, 77, RefusedModelError.exit_code)
"""Exit codes, in addition to the trainer's, after which the Job fails at once, since another pod would fail the same
way.

They stand for a missing base image, a registry that denies access, and a model that is not good enough. A failed
conversion (70) is tried again: images that are unavailable at the moment may be the cause, and the run is kept."""


def pipeline_faults(training: TrainingJob) -> Iterator[Fault]:
    """Yield the faults of eaves.yaml that prevent a pipeline."""
    yield from training_faults(training)
    job = training.job
    if not job.repository:
        yield fault("job.repository", "must name the repository of the function's container image: HOST/REPOSITORY")
    if not job.base:
        yield fault(
            "job.base",
            "must name the base container image with Python, which the function's container image is built on",
        )
    if "@" in urlsplit(job.sink).netloc:
        yield fault("job.sink", "must not have a password, as everyone who can read Jobs can read it")
    if training.convert.handler and not training.convert.handler.startswith(f"{DATA}/"):
        message = (
            f"must be a path below {DATA}, where the volume `job.data_claim` is mounted (got "
            f"{training.convert.handler!r})"
        )
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


def jobsink_faults(training: TrainingJob) -> Iterator[Fault]:
    """Yield the faults of eaves.yaml for trainings that are started by events."""
    by_event = ("job.data", "data.path")  # the event names them
    faults = pipeline_faults(training) if training.job.repository else training_faults(training)
    yield from (fault for fault in faults if fault.path not in by_event)
    if not training.data.allowed_prefixes:
        message = "must list the URI prefixes that events may name images under, such as s3://photos"
        yield fault("data.allowed_prefixes", message)


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
    faults = {PIPELINE: pipeline_faults, JOBSINK: jobsink_faults}.get(kind, training_faults)
    if found := list(faults(training)):
        raise ConfigError(found)
    if kind not in (PIPELINE, JOBSINK):
        return (build_job(training),)
    publishes = kind == PIPELINE or training.job.repository
    binding = (build_binding(training),) if publishes and not training.job.sink else ()
    if kind == PIPELINE:
        return (*binding, build_pipeline(training))
    return (*binding, build_jobsink(training), build_dataset_trigger(training))

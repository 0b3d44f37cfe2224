"""Objects that start a training when a data set has changed: a JobSink, and the Trigger that sends it events.

The JobSink's Job is a pipeline if the settings name a repository to push to, else only a training. The event names the
data, and the run is stored at OUTPUT/IDENTITY. When the event comes again after its Job was deleted, the Job finds the
run and doesn't repeat the work.

Knative's webhook checks a JobSink by a strict dry run of its Job, so the Job must be complete without the fields that
JobSink adds later. JobSink adds K_EVENT_PATH and the volume `jobsink-event`, a Secret of at most a megabyte, to
`containers` and never to `initContainers`.

Source: knative/eventing v1.22, cmd/jobsink/main.go and pkg/apis/sinks/v1alpha1/job_sink_validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eaves.errors import Fault
from eaves.events import DATASET_UPDATED
from eaves.platform import DeliverySettings
from knative.client.kinds import JOB_SINK, TRIGGER
from knative.resources.eventing import build_delivery
from knative.resources.metadata import PART_LABEL, reference
from knative.training import pipeline
from knative.training.job import (
    COMMAND,
    PART,
    TrainingJob,
    build_container,
    build_metadata,
    build_spec,
    failing_codes,
    job_labels,
    settings_option,
    training_faults,
)

ACCEPT_S = 30.0
"""Maximum seconds that the Trigger waits for the JobSink's answer, which comes once the Job and the event's Secret
exist."""


def jobsink_faults(training: TrainingJob) -> Iterator[Fault]:
    """Yield the faults of eaves.yaml for trainings that are started by events."""
    by_event = ("job.data", "data.path")  # the event names them
    faults = pipeline.pipeline_faults(training) if training.job.repository else training_faults(training)
    yield from (fault for fault in faults if fault.path not in by_event)
    if not training.data.allowed_prefixes:
        message = "must list the URI prefixes that events may name images under, such as s3://photos"
        yield Fault(origin="eaves.yaml", path="data.allowed_prefixes", message=message)


def build_jobsink(training: TrainingJob) -> dict[str, Any]:
    """Build the JobSink, which makes a Job for each event of a changed data set."""
    place = f"{training.place}/{training.name}"
    if training.job.repository:
        part, spec = pipeline.PART, pipeline.build_spec_for(training, place, by_event=True)
    else:
        arguments = [f"--output={place}", f"--name={training.name}", settings_option(training, by_event=True)]
        container = build_container(training, COMMAND, arguments)
        part, spec = PART, build_spec(training, PART, container, codes=failing_codes())
    made = build_metadata(JOB_SINK, _name(training), training, PART)
    labels = {**made["metadata"]["labels"], PART_LABEL: part, **job_labels(training)}
    return {**made, "spec": {"job": {"metadata": {"labels": labels}, "spec": spec}}}


def build_dataset_trigger(training: TrainingJob) -> dict[str, Any]:
    """Build the Trigger that sends `dataset.updated` events of the Broker to the JobSink."""
    made = build_metadata(TRIGGER, _name(training), training, PART)
    spec = {
        "broker": training.knative.broker,
        "filter": {"attributes": {"type": DATASET_UPDATED}},
        "subscriber": {"ref": reference(JOB_SINK, _name(training), training.namespace)},
        "delivery": build_delivery(DeliverySettings(timeout_s=ACCEPT_S), training.knative.dead_letter_sink),
    }
    return {**made, "spec": spec}


def _name(training: TrainingJob) -> str:
    return f"{training.name}-dataset"

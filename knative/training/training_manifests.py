"""Objects of a training by purpose, in the order of applying: the output of `eaves render --training`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from eaves.errors import ConfigError, Fault
from knative.training.job import TrainingJob, build_job, training_faults
from knative.training.jobsink import build_dataset_trigger, build_jobsink, jobsink_faults
from knative.training.pipeline import build_binding, build_pipeline, pipeline_faults

JOB, PIPELINE, JOBSINK = "job", "pipeline", "jobsink"
KINDS = (JOB, PIPELINE, JOBSINK)
"""Purposes of rendered training objects: one training; a training with all later steps; the start of either of them
when a data set has changed."""


def render_training(training: TrainingJob, kind: str) -> tuple[dict[str, Any], ...]:
    """Render the objects of a training for one of the purposes in `KINDS`.

    Raises:
        ConfigError: When eaves.yaml has faults that prevent the purpose; the error lists them all.
    """
    faults, build = _BUILDERS[kind]
    if found := list(faults(training)):
        raise ConfigError(found)
    return tuple(build(training))


def _job(training: TrainingJob) -> Iterator[dict[str, Any]]:
    yield build_job(training)


def _pipeline(training: TrainingJob) -> Iterator[dict[str, Any]]:
    yield from _binding(training)
    yield build_pipeline(training)


def _jobsink(training: TrainingJob) -> Iterator[dict[str, Any]]:
    if training.job.repository:
        yield from _binding(training)
    yield build_jobsink(training)
    yield build_dataset_trigger(training)


def _binding(training: TrainingJob) -> Iterator[dict[str, Any]]:
    if not training.job.sink:
        yield build_binding(training)


_BUILDERS: Mapping[
    str, tuple[Callable[[TrainingJob], Iterator[Fault]], Callable[[TrainingJob], Iterator[dict[str, Any]]]]
] = {
    JOB: (training_faults, _job),
    PIPELINE: (pipeline_faults, _pipeline),
    JOBSINK: (jobsink_faults, _jobsink),
}

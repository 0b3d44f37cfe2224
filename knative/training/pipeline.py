"""A pipeline in one Job: train > convert > judge > package > push > send `dev.eaves.model.published.v1`.

One container runs the steps one after the other (`eaves pipeline`), each as a process. Init containers can't run them,
because JobSink gives them no event. Every step may be repeated: a finished run is found, a finished artifact is found
if `job.work_claim` keeps it, a push doesn't change existing content, and the event has the same id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from eaves.config.complete import FLAG, collect_settings, render_complete
from eaves.errors import Fault, RefusedModelError
from knative.client.kinds import BROKER, JOB, SINK_BINDING
from knative.resources.metadata import APP_LABEL, PART_LABEL, reference
from knative.training.job import (
    DATA,
    WORK,
    TrainingJob,
    build_container,
    build_metadata,
    build_spec,
    complete_sections,
    failing_codes,
    name_job,
    training_faults,
)

PART = "pipeline"
COMMAND = ("python", "-P", "-m", "eaves.cli", "pipeline")
DOCKER = "/docker"
FAILING = (66, 77, RefusedModelError.exit_code)
"""Exit codes, in addition to the trainer's, after which the Job fails at once, since another pod would fail the same
way.

They stand for a missing base image, a registry that denies access, and a model that is not good enough. A failed
conversion (70) is tried again: images that are unavailable at the moment may be the cause, and the run is kept."""


def pipeline_faults(training: TrainingJob) -> Iterator[Fault]:
    """Yield the faults of eaves.yaml that prevent a pipeline."""
    yield from training_faults(training)

    def fault(path: str, message: str) -> Fault:
        return Fault(origin="eaves.yaml", path=path, message=message)

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
    return name_job(training, PART, spec)


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
    sections = complete_sections(training, by_event=by_event) | {
        "convert": collect_settings(training.convert),
        "pipeline": collect_settings(training.pipeline),
    }
    arguments += [f"{FLAG}={render_complete(sections)}"]
    places = {"XDG_CACHE_HOME": f"{WORK}/cache", **({"DOCKER_CONFIG": DOCKER} if job.push_secret else {})}
    container = build_container(training, COMMAND, arguments, places)
    spec = build_spec(training, PART, container, codes=[*failing_codes(), *FAILING])
    if job.push_secret:
        pod = spec["template"]["spec"]
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        pod["volumes"].append({"name": "docker", "secret": {"secretName": job.push_secret, "items": items}})
        pod["containers"][0]["volumeMounts"].append({"name": "docker", "mountPath": DOCKER, "readOnly": True})
    return spec


def build_binding(training: TrainingJob) -> dict[str, Any]:
    """Build the SinkBinding that sets the variable `K_SINK`, the address for a pipeline's event.

    With `job.sink`, the event goes to the address in that setting instead. The SinkBinding must be ready before a Job
    is made, because the variables of a Job's pods can't be changed later.
    """
    made = build_metadata(SINK_BINDING, f"{training.name}-{PART}", training, PART)
    chosen = {"matchLabels": {APP_LABEL: training.name, PART_LABEL: PART}}
    subject: dict[str, Any] = {"apiVersion": JOB.api_version, "kind": JOB.kind}
    if training.namespace:
        subject["namespace"] = training.namespace
    sink = {"ref": reference(BROKER, training.knative.broker, training.namespace)}
    return {**made, "spec": {"subject": {**subject, "selector": chosen}, "sink": sink}}


def _target(repository: str) -> str:
    """Return the name to push to: the repository with the model's version as its tag, unless it has a tag already."""
    return repository if ":" in repository.rpartition("/")[2] else f"{repository}:{{version}}"

"""Training in a cluster, for `eaves train --on knative`: creates or finds the Job, follows it, downloads its run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eaves.cli.output import say
from eaves.cli.project import Workspace
from eaves.cli.site import Place
from eaves.errors import CancelledError, ConfigError, Fault, UnreachableClusterError

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.training.job import TrainingJob
    from trainer.run.run import Run


def build_training(workspace: Workspace, *, data: str = "", run: str = "", namespace: str = "") -> TrainingJob:
    """Build the training that eaves.yaml describes, for a cluster.

    Args:
        workspace: The project.
        data: Path or URI of the labelled images, in place of that in eaves.yaml; empty for that in eaves.yaml.
        run: Name of the run; empty for a name made from the settings.
        namespace: Namespace of the objects; empty for that in eaves.yaml.
    """
    from knative.training.job import TrainingJob
    from trainer.storage import is_uri

    project = workspace.project
    job = replace(project.job, data=data, data_claim="" if is_uri(data) else project.job.data_claim) if data else None
    return TrainingJob(
        name=project.name,
        site=project.site,
        data=project.data,
        train=project.train,
        convert=project.convert,
        pipeline=project.pipeline,
        job=job or project.job,
        knative=project.knative,
        namespace=namespace or project.job.namespace,
        run=run,
    )


def open_trainings(workspace: Workspace, place: Place) -> Cluster:
    """Connect to the cluster that training Jobs run in: the chosen site's, else that of `job` in eaves.yaml.

    Raises:
        ConfigError: When several sites are chosen, or when the kubeconfig has no such cluster.
    """
    from knative.client.cluster import open_cluster

    if place.every or len(place.sites) > 1:
        message = "a training runs in one cluster; name one site and leave out --all"
        raise ConfigError([Fault(origin="--site", path="", message=message)])
    if place.sites:
        return place.open_cluster(place.one)
    job = workspace.project.job
    context, namespace = place.context or job.context, place.namespace or job.namespace
    return open_cluster(kubeconfig=place.kubeconfig, context=context, namespace=namespace)


def train_remotely(workspace: Workspace, place: Place, *, data: str, output: Path | None, again: bool) -> Run:
    """Train in a cluster: create or find the Job, show its progress until it ends, and download its run.

    Raises:
        EavesError: When the training fails, with the trainer's exit code; or when the Job can't be created.
        CancelledError: When Ctrl-C ends this command; the Job continues in the cluster.
    """
    from knative.training.job import build_job, find_faults
    from knative.training.job_follower import create_job, explain_failure, find_ending, follow_job
    from knative.training.run_download import download_run
    from trainer.progress import build_progress
    from trainer.run.run import build_name

    cluster = open_trainings(workspace, place)
    run = build_name(output.name) if output else ""
    training = build_training(workspace, data=data, run=run, namespace=cluster.namespace)
    if faults := list(find_faults(training)):
        raise ConfigError(faults)
    manifest = build_job(training)
    name = manifest["metadata"]["name"]
    try:
        create_job(cluster, manifest, again=again, notify=say)
        job = follow_job(cluster, name, on_line=say, notify=say)
        if find_ending(job) == "Failed":
            raise explain_failure(cluster, job)
        target = output or workspace.runs / training.run_name
        return download_run(cluster, training, job, target, notify=say, progress=build_progress(sys.stderr))
    except KeyboardInterrupt as error:
        message = f"this command no longer shows the Job {name}, which continues in the cluster"
        raise CancelledError(message, hint=_attach(name, cluster)) from error
    except UnreachableClusterError as error:
        raise UnreachableClusterError(
            f"{error.message}; the Job {name} continues in the cluster", hint=_attach(name, cluster)
        ) from error


def _attach(name: str, cluster: Cluster) -> str:
    return f"run the same command to show it again; to end the Job: kubectl delete job {name} -n {cluster.namespace}"

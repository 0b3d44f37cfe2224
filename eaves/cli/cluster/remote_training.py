"""`eaves train --on knative`: the Job made or found, its progress shown, its run brought here."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.cli.app.project import Workspace
from eaves.cli.cluster.platform_options import PlatformChoice, choose_sites
from eaves.cli.display.output import say
from eaves.errors import ConfigError, Fault, StoppedError, UnreachableClusterError

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.training.job import TrainingJob
    from knative.training.job_log import LogLine
    from trainer.progress import Step, TrainingProgress
    from trainer.run.run import Run


def build_training(workspace: Workspace, *, data: str = "", run: str = "", namespace: str = "") -> TrainingJob:
    """What eaves.yaml wants trained in a cluster.

    Args:
        workspace: Of eaves.yaml.
        data: Where the images are, in place of what it says.
        run: Name of the run, where one was chosen.
        namespace: Of the objects.
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


def render_remote(workspace: Workspace, kind: str, *, namespace: str = "") -> tuple[dict[str, Any], ...]:
    """The objects of a training, of one of `knative.training.training_manifests.KINDS`.

    Raises:
        ConfigError: With everything that stands in the way.
    """
    from knative.training.training_manifests import render_training

    return render_training(build_training(workspace, namespace=namespace), kind)


def open_trainings(workspace: Workspace, choice: PlatformChoice) -> Cluster:
    """The cluster that trains: a site's where one is named, else the one of the section `job`.

    Raises:
        ConfigError: When several are named, or the kubeconfig has none.
    """
    from knative.client.cluster import open_cluster

    if choice.every or len(choice.sites) > 1:
        raise ConfigError([Fault(origin="--site", path="", message="a training runs in one cluster")])
    job = workspace.project.job
    context, namespace = choice.context or job.context, choice.namespace or job.namespace
    if choice.sites:
        (site,) = choose_sites(workspace.project.sites, choice)
        context, namespace = site.context, site.namespace
    return open_cluster(kubeconfig=choice.kubeconfig, context=context, namespace=namespace)


def train_remotely(workspace: Workspace, choice: PlatformChoice, *, data: str, output: Path | None, again: bool) -> Run:
    """The whole of it; what is lost here is lost here only.

    Raises:
        EavesError: The training failed, with the trainer's own exit code; or there is no training to begin with.
        StoppedError: Interrupted here; the Job goes on.
    """
    from knative.training.job import build_job, training_faults
    from knative.training.job_failure import explain_failure
    from knative.training.job_follower import create_job, follow_job
    from knative.training.job_status import find_ending
    from knative.training.run_download import download_run
    from trainer.progress import build_progress
    from trainer.run.run import build_name

    cluster = open_trainings(workspace, choice)
    run = build_name(output.name) if output else ""
    training = build_training(workspace, data=data, run=run, namespace=cluster.namespace)
    if faults := list(training_faults(training)):
        raise ConfigError(faults)
    manifest = build_job(training)
    name = manifest["metadata"]["name"]
    progress = build_progress(sys.stderr)
    try:
        create_job(cluster, manifest, again=again, say=say)
        with JobView(progress, bars=sys.stderr.isatty()) as view:
            job = follow_job(cluster, name, on_line=view.show, say=view.say)
        if find_ending(job) == "Failed":
            raise explain_failure(cluster, job)
        target = output or workspace.runs / training.run_name
        return download_run(cluster, training, job, target, say=say, progress=progress)
    except KeyboardInterrupt as error:
        raise StoppedError(f"no longer watching {name}: it goes on without us", hint=_attach(name, cluster)) from error
    except UnreachableClusterError as error:
        raise UnreachableClusterError(
            f"{error.message}; {name} goes on without us", hint=_attach(name, cluster)
        ) from error


def _attach(name: str, cluster: Cluster) -> str:
    return f"the same command watches it again; to end it: kubectl delete job {name} -n {cluster.namespace}"


class JobView:
    """Shows a training's lines: as bars on a terminal, where they tell how far it is; else as they are.

    Args:
        progress: Draws the bars.
        bars: Whether to.
    """

    def __init__(self, progress: TrainingProgress, *, bars: bool) -> None:
        self._progress, self._bars = progress, bars
        self._stack = ExitStack()
        self._phase: tuple[str, int] | None = None
        self._step: Step | None = None
        self._done = 0

    def __enter__(self) -> JobView:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def say(self, text: str) -> None:
        """Talk, between bars."""
        self._close()
        say(text)

    def show(self, line: LogLine) -> None:
        """One line."""
        if not self._bars or not line.phase:
            self.say(line.text)
            return
        if (line.phase, line.total) != self._phase:
            self._close()
            self._phase, self._done = (line.phase, line.total), 0
            self._step = self._stack.enter_context(self._progress.phase(line.phase, line.total))
        if self._step is not None:
            self._step(line.done - self._done, line.note)
        self._done = line.done

    def _close(self) -> None:
        self._stack.close()
        self._phase = self._step = None

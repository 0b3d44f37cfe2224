"""Training in a cluster, for `eaves train --on knative`: creates or finds the Job, follows it, downloads its run."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eaves.cli.app.project import Workspace
from eaves.cli.cluster.platform_options import PlatformChoice, choose_sites
from eaves.cli.display.output import say
from eaves.errors import CancelledError, ConfigError, Fault, UnreachableClusterError

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.training.job import TrainingJob
    from knative.training.job_follower import LogLine
    from trainer.progress import Step, TrainingProgress
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


def render_remote(workspace: Workspace, kind: str, *, namespace: str = "") -> tuple[dict[str, Any], ...]:
    """Render the Kubernetes objects of a training of one of the kinds `job`, `pipeline` and `jobsink`.

    Raises:
        ConfigError: When settings prevent a training in a cluster; it holds all faults.
    """
    from knative.training.pipeline import render_training

    return render_training(build_training(workspace, namespace=namespace), kind)


def open_trainings(workspace: Workspace, choice: PlatformChoice) -> Cluster:
    """Connect to the cluster that training Jobs run in: the chosen site's, else that of `job` in eaves.yaml.

    Raises:
        ConfigError: When several sites are chosen, or when the kubeconfig has no such cluster.
    """
    from knative.client.cluster import open_cluster

    if choice.every or len(choice.sites) > 1:
        message = "a training runs in one cluster; name one site and leave out --all"
        raise ConfigError([Fault(origin="--site", path="", message=message)])
    job = workspace.project.job
    context, namespace = choice.context or job.context, choice.namespace or job.namespace
    if choice.sites:
        (site,) = choose_sites(workspace.project.sites, choice)
        context, namespace = site.context, site.namespace
    return open_cluster(kubeconfig=choice.kubeconfig, context=context, namespace=namespace)


def train_remotely(workspace: Workspace, choice: PlatformChoice, *, data: str, output: Path | None, again: bool) -> Run:
    """Train in a cluster: create or find the Job, show its progress until it ends, and download its run.

    Raises:
        EavesError: When the training fails, with the trainer's exit code; or when the Job can't be created.
        CancelledError: When Ctrl-C ends this command; the Job continues in the cluster.
    """
    from knative.training.job import build_job, training_faults
    from knative.training.job_follower import create_job, explain_failure, find_ending, follow_job
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
        message = f"this command no longer shows the Job {name}, which continues in the cluster"
        raise CancelledError(message, hint=_attach(name, cluster)) from error
    except UnreachableClusterError as error:
        raise UnreachableClusterError(
            f"{error.message}; the Job {name} continues in the cluster", hint=_attach(name, cluster)
        ) from error


def _attach(name: str, cluster: Cluster) -> str:
    return f"run the same command to show it again; to end the Job: kubectl delete job {name} -n {cluster.namespace}"


class JobView:
    """Shows the log lines of a training Job: on a terminal, lines about progress as progress bars; otherwise as text.

    Args:
        progress: Display that draws the bars.
        bars: Whether to draw bars.
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
        """Print a message, after closing an open bar."""
        self._close()
        say(text)

    def show(self, line: LogLine) -> None:
        """Show one log line."""
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

"""The commands `eaves train`, here or in a cluster as a Job that it follows, and `convert`: a run, and an artifact."""

from __future__ import annotations

import dataclasses
import shlex
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from converters.settings import ConvertSettings
from eaves import logs
from eaves.cli.app import build_training
from eaves.cli.output import say
from eaves.cli.project import (
    ANY_PATH,
    ARTIFACT,
    ARTIFACTS,
    RUN,
    ModelPath,
    Workspace,
    load_workspace,
    newest,
    refuse_latest,
    update_latest,
)
from eaves.cli.site import Place, file_option, place_options
from eaves.errors import CancelledError, ConfigError, RunError, StoppedError, UnreachableClusterError
from eaves.options import build_settings, given, settings_options
from eaves.redact import redact
from knative.settings import SiteSettings
from trainer.settings import TrainSettings

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from trainer.run.run import Run


@click.command()
@click.option("--data", help="Folder with one subfolder of images per class, a manifest or an archive: path or URI.")
@click.option(
    "--run",
    "output",
    type=ANY_PATH,
    help="Directory of the run. Default: a new directory in runs/.",
)
@click.option("--again", is_flag=True, help="In a cluster, replace a Job that has ended by a new one.")
@place_options("on", "all", "file")
@settings_options(TrainSettings, section="train.")
def train(data: str | None, output: Path | None, again: bool, place: Place, **options: Any) -> None:
    """Train a model on labelled images, and print the run's directory, which runs/latest then points to.

    In a cluster (--on knative) a Job trains the model. The same command finds the Job again from any machine and shows
    its progress. Another --run starts another training, for example after the images have changed.
    """
    flags = {f"train.{path}": value for path, value in given(TrainSettings, options).items()}
    if data is not None:
        flags["data.path"] = data if "://" in data else str(Path(data).absolute())
    workspace = load_workspace(place.file, flags, section="train.", needs_data=True)
    if place.is_cluster:
        report_run(train_remotely(workspace, place, data=data or "", output=output, again=again))
        return
    project, settings = workspace.project, workspace.project.train
    if output is not None:
        refuse_latest(output, "--run")
    target = output or workspace.runs / f"{project.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if settings.weights_kind == "file" and "://" not in settings.weights:
        # An absolute path: a flag's is relative to this folder, and that of eaves.yaml to its own.
        root = Path() if "train.weights" in flags else workspace.root
        settings = dataclasses.replace(settings, weights=str(root.absolute() / settings.weights))

    from trainer.lifecycle import stop_on_signals
    from trainer.progress import build_progress
    from trainer.run.run import clear_unfinished
    from trainer.tensorflow_notices import prepare_tensorflow
    from trainer.train import train

    prepare_tensorflow()
    logs.configure(as_json=False)
    for line in clear_unfinished(target):
        say(line)
    try:
        with stop_on_signals() as stop:
            run = train(
                workspace.data, settings, target, name=project.name, progress=build_progress(sys.stderr), stop=stop
            )
    except StoppedError as error:
        words = ["eaves", *sys.argv[1:], *([] if output else ["--run", str(target)])]
        shown = [redact(word) for word in words]
        secrets = "" if shown == words else ", with the secrets in place of ***,"
        hint = f"{shlex.join(shown)}{secrets} continues the training"
        kind = CancelledError if stop.number == signal.SIGINT else StoppedError
        raise kind(error.message, hint=hint) from error
    if target.absolute().parent == workspace.runs.absolute():
        update_latest(workspace.runs, RUN)
    report_run(run)


def report_run(run: Run) -> None:
    """Print the quality of a finished run, its report and its directory."""
    say(f"run {run.path.name}, version {run.version}: {run.verdict['text']}")
    say(f"report: {run.path / 'report.html'}")
    click.echo(run.path)


def find_training_site(workspace: Workspace, place: Place) -> SiteSettings:
    """Return where training Jobs run: at the chosen site, else in the cluster of `job` in eaves.yaml.

    Raises:
        ConfigError: When several sites are chosen.
    """
    if place.every or len(place.sites) > 1:
        message = "a training runs in one cluster; name one site and leave out --all"
        raise ConfigError.single("--site", "", message)
    if place.sites:
        return place.one
    job = workspace.project.job
    return SiteSettings(context=place.context or job.context, namespace=place.namespace or job.namespace)


def train_remotely(workspace: Workspace, place: Place, *, data: str, output: Path | None, again: bool) -> Run:
    """Train in a cluster: create or find the Job, show its progress until it ends, and download its run.

    Raises:
        EavesError: When the training fails, with the trainer's exit code; or when the Job can't be created.
        CancelledError: When Ctrl-C ends this command; the Job continues in the cluster.
    """
    from knative.status.site_status import Kubectl
    from knative.training.job import build_job, find_faults
    from knative.training.job_follower import create_job, explain_failure, find_ending, follow_job
    from knative.training.run_download import download_run
    from trainer.progress import build_progress
    from trainer.run.run import build_name

    site = find_training_site(workspace, place)
    cluster = place.open_cluster(site)
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
        kubectl = Kubectl(kubeconfig=place.kubeconfig, context=site.context)
        bars = build_progress(sys.stderr)
        return download_run(cluster, training, job, target, kubectl=kubectl, notify=say, progress=bars)
    except KeyboardInterrupt as error:
        message = f"this command no longer shows the Job {name}, which continues in the cluster"
        raise CancelledError(message, hint=_attach(name, cluster)) from error
    except UnreachableClusterError as error:
        raise UnreachableClusterError(
            f"{error.message}; the Job {name} continues in the cluster", hint=_attach(name, cluster)
        ) from error


def _attach(name: str, cluster: Cluster) -> str:
    return f"run the same command to show it again; to end the Job: kubectl delete job {name} -n {cluster.namespace}"


@click.command()
@click.argument("model", type=ModelPath(), required=False)
@click.option(
    "--artifact",
    type=ANY_PATH,
    help="Directory of the artifact. Default: a new directory in artifacts/.",
)
@click.option(
    "--declare",
    type=ANY_PATH,
    help="Declaration of a model that Eaves didn't train, such as model.yaml.",
)
@file_option
@settings_options(ConvertSettings, section="convert.")
def convert(model: Path | None, artifact: Path | None, declare: Path | None, file: Path, **options: Any) -> None:
    """Convert MODEL to an artifact, prove that outputs are equal, and print the artifact's directory.

    MODEL is a run (the newest, runs/latest, when not given), or with a declaration a SavedModel, a .keras or an .onnx
    file. With MODEL, no eaves.yaml is needed: without the file, settings come from the environment or have their
    defaults. Afterwards artifacts/latest points to the new artifact. A run that was converted with the same settings is
    not converted again.
    """
    flags = {f"convert.{path}": value for path, value in given(ConvertSettings, options).items()}
    if "convert.handler" in flags:
        flags["convert.handler"] = str(Path(flags["convert.handler"]).absolute())  # a flag's is relative to here
    is_named = click.get_current_context().get_parameter_source("file") is not ParameterSource.DEFAULT
    if model is not None and not (is_named or file.exists()):
        settings, artifacts = build_settings(ConvertSettings, options, section="convert."), Path(ARTIFACTS)
    else:
        workspace = load_workspace(file, flags, section="convert.")
        settings, artifacts = workspace.project.convert, workspace.artifacts
        if settings.handler:
            settings = replace(settings, handler=str(workspace.path(Path(settings.handler))))
        model = model or newest(workspace.runs, RUN)
        if model is None:
            raise RunError(f"{workspace.runs} holds no finished run to convert", hint="eaves train")
    place = model.absolute()
    target = artifact or artifacts / (place.stem if place.is_file() else place.name)
    refuse_latest(target, "--artifact")
    _convert(model, target, settings, declare)
    if target.absolute().parent == artifacts.absolute():
        update_latest(artifacts, ARTIFACT)


def _convert(model: Path, target: Path, settings: ConvertSettings, declare: Path | None) -> None:
    """Convert a model, and print what was proven and the artifact's directory."""
    from converters.convert import convert
    from eaves.artifact.manifest import CLASSIFY, TENSOR
    from trainer.progress import build_progress

    logs.configure(as_json=False)
    made = convert(model, target, settings, declaration=declare, progress=build_progress(sys.stderr))
    manifest = made.manifest
    parity = manifest.parity
    if manifest.task == TENSOR:
        say(
            f"parity: on {parity.images} samples, outputs differ from the original model's by at most "
            f"{parity.max_rel_error:.1e} of the largest output"
        )
    else:
        say(
            f"parity: probabilities of the {manifest.precision} model differ from the trained model's by at most "
            f"{parity.max_abs_error_probabilities:.1e}; the label is the same on {parity.top1_agreement:.0%} of "
            f"{parity.images} images"
        )
    say(f"the artifact holds the {manifest.precision} model: {manifest.quantisation.reason}")
    if manifest.task == CLASSIFY:
        if found := manifest.source.samples:
            say(_describe_samples(manifest.source.samples_right, found, len(manifest.labels)))
        say(f"{manifest.name} {manifest.version}: {_describe_quality(model)}")
    click.echo(made.path)


def _describe_samples(right: int, samples: int, labels: int) -> str:
    """Return how many samples get the label of their folder, with advice if that is hardly more than by guessing."""
    text = f"{right} of {samples} samples get the label of their folder"
    if right * labels < 2 * samples:
        text += (
            "; if the model is better than that, its input is declared wrongly: compare `multiply`, `add`, `channels` "
            "and the order of `labels` with its training"
        )
    return text


def _describe_quality(model: Path) -> str:
    """Return what a run says about its model's accuracy; for any other model, return how to measure the accuracy."""
    from trainer.run.run import MANIFEST, open_run

    found = open_run(model).verdict.get("text", "") if (model / MANIFEST).is_file() else ""
    return str(found or "its accuracy is not known; eaves evaluate ARTIFACT DATA measures it on labelled images")

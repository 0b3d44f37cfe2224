"""The command `eaves pipeline`, which a pipeline Job runs."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.settings import ConvertSettings, PipelineSettings
from eaves import logs
from eaves.cli.registry import PLAIN_HTTP, build_access
from eaves.config import complete as complete_settings
from eaves.errors import CancelledError, ConfigError, Fault, StoppedError
from eaves.options import build_settings, settings_options

if TYPE_CHECKING:
    from trainer.lifecycle import StopRequest

_log = logging.getLogger("eaves.pipeline")
POLL_S = 0.2


@click.command()
@click.option(
    "--output", required=True, help="Directory or URI of the run; with --event, the parent of the run's directory."
)
@click.option("--name", required=True, help="Name of the model.")
@click.option("--site", default="home", show_default=True, help="Site in the last event's source, /eaves/SITE/NAME.")
@click.option(
    "-t",
    "--tag",
    required=True,
    metavar="PLACE",
    help="Name of the container image, as for `eaves package`; {version} is the model's version.",
)
@click.option("--base", required=True, metavar="PLACE", help="Container image with Python to build on.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    help="Platform of the container image, such as linux/arm64; several make one index.",
)
@click.option("--allow-handler", is_flag=True, help="Include the artifact's handler.py.")
@click.option(
    "--plain-http", is_flag=True, envvar=PLAIN_HTTP, help=f"Connect to the registry without TLS. [{PLAIN_HTTP}]"
)
@click.option(
    "--published-to",
    "sink",
    envvar="K_SINK",
    default="",
    metavar="URL",
    help="URL that gets a dev.eaves.model.published.v1 event; Knative's SinkBinding sets it. [K_SINK]",
)
@click.option(
    "--event",
    type=click.Path(path_type=Path),
    envvar="K_EVENT_PATH",
    help="Folder with a `dataset.updated` event, as JobSink mounts it. [K_EVENT_PATH]",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    envvar="EAVES_WORK",
    default=Path(".eaves-pipeline"),
    show_default=True,
    help="Local folder for intermediate files. [EAVES_WORK]",
)
@click.option(complete_settings.FLAG, "complete", default="", metavar="JSON", help=complete_settings.HELP)
@settings_options(PipelineSettings, section="pipeline.")
def command(
    output: str, name: str, site: str, tag: str, base: str, platforms: tuple[str, ...], allow_handler: bool,
    plain_http: bool, sink: str, event: Path | None, work: Path, complete: str, **options: Any,
) -> None:  # fmt: skip
    """Run a pipeline: train, convert, check the accuracy, package, push and publish. A pipeline Job runs this.

    Each step may be repeated. Settings come from --settings, as a Job passes them, and from the environment
    (EAVES_DATA_PATH, EAVES_TRAIN_EPOCHS, EAVES_CONVERT_PRECISION, EAVES_PIPELINE_FLOOR, ...). When a step fails, the
    command ends with the step's exit code. When the model is not good enough, it publishes nothing and ends with 79.
    """
    from trainer.lifecycle import Stoppable, stop_on_signals
    from trainer.progress import LoggedProgress
    from trainer.run.run import open_run
    from trainer.run.run_location import build_location
    from trainer.settings import DataSettings, TrainSettings
    from trainer.training_event import read_event

    logs.configure()
    known = {"data": DataSettings, "train": TrainSettings, "convert": ConvertSettings, "pipeline": PipelineSettings}
    # A Job of another version of Eaves may pass settings that this version doesn't know, so all names are checked.
    layers = complete_settings.parse_complete(complete, known, without=("data.path",)) if complete else {}
    settings = build_settings(PipelineSettings, options, *layers.get("pipeline", ()), section="pipeline.")
    if not sink.startswith(("http://", "https://")):
        fault = Fault(origin="--published-to", path="", message=f"must be an http(s) address (got {sink!r})")
        hint = "wait until the SinkBinding is ready, which sets K_SINK when a Job is created, then create the Job again"
        raise ConfigError([fault], hint=hint)
    place = [f"--output={output}", f"--name={name}", f"--work={work}", *([f"--event={event}"] if event else [])]
    packing = [f"--tag={tag}", f"--base={base}", f"--published-to={sink}", f"--site={site}"]
    packing += [f"--platform={platform}" for platform in platforms]
    packing += ["--allow-handler"] if allow_handler else []
    packing += ["--plain-http"] if plain_http else []
    with stop_on_signals() as stop:
        _run("train", ["trainer", *place, *_select(complete, "data", "train")], stop)
        run = build_location(read_event(event).output(output) if event else output, work)
        # Artifacts of earlier runs stay beside this one, because a conversion reuses their unchanged parts.
        artifact = work / "artifacts" / name / open_run(run.local).version
        if not (artifact / "manifest.json").is_file():  # a conversion leaves a whole artifact or none
            words = ["converters", str(run.local), f"--output={artifact}", *_select(complete, "convert")]
            _run("convert", words, stop)
        # The training has already checked that the event may name this path.
        named = {"path": read_event(event).dataset} if event else {}
        data = build_settings(DataSettings, named, *layers.get("data", ()), section="data.")
        access = build_access(plain_http=plain_http)

        from converters.publication_check import (
            check_publication,  # after the steps, which need the memory
            tag_roles,
        )
        from eaves.artifact import open_artifact

        _log.info("the step judge begins", extra={"step": "judge"})
        progress = Stoppable(LoggedProgress(), stop)
        passed = check_publication(artifact, run, data, tag, settings, access=access, progress=progress)
        for line in passed.lines:
            _log.info("%s", line, extra={"step": "judge"})
        _run("publish", ["eaves.cli", "package", str(artifact), *packing], stop)
        if not passed.again:  # the best model so far is tagged after it was published
            version = open_artifact(artifact).manifest.version
            for line in tag_roles(passed.published, tag, version, passed.best, access):
                _log.warning("%s", line, extra={"step": "publish"})


def _select(complete: str, *names: str) -> list[str]:
    """Return the option with which a step gets its sections of the settings in `--settings`."""
    if not complete:
        return []
    values = complete_settings.load_sections(complete)
    chosen = complete_settings.render_complete({name: values[name] for name in names})
    return [f"{complete_settings.FLAG}={chosen}"]


def _run(step: str, words: Sequence[str], stop: StopRequest) -> None:
    """Run one step as a process and wait for its end.

    Raises:
        StoppedError: When SIGTERM asks the pipeline to stop; the step has been stopped and has ended.
        CancelledError: When Ctrl-C does.
        SystemExit: When the step fails, with the step's exit code.
    """
    _log.info("the step %s begins", step, extra={"step": step})
    started, code = time.monotonic(), None
    # In a session of its own, the step gets Ctrl-C from this process only; a second signal would cut off a checkpoint.
    process = subprocess.Popen([sys.executable, "-P", "-m", *words], start_new_session=True)
    while code is None and not stop.is_set():
        try:
            code = process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    if code is None:
        process.terminate()
        process.wait()
        kind = CancelledError if stop.number == signal.SIGINT else StoppedError
        raise kind(
            f"the pipeline was stopped during the step {step}",
            hint="run the same command again; it continues with this step",
        )
    if code:
        _log.error("the step %s failed with exit code %d", step, code, extra={"step": step})
        sys.exit(code if code > 0 else 128 - code)
    _log.info("the step %s is done after %.1f s", step, time.monotonic() - started, extra={"step": step})

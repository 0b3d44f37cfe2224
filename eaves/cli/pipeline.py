"""`eaves pipeline`."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import click

from eaves import logs
from eaves.errors import ConfigError, Fault, StoppedError

_log = logging.getLogger("eaves.pipeline")
POLL_S = 0.2


@click.command()
@click.option("--output", required=True, help="Directory or URI of the run; with an event, what it goes below.")
@click.option("--name", required=True, help="Of the model.")
@click.option("--site", default="home", show_default=True, help="In the last event's source, /eaves/SITE/NAME.")
@click.option(
    "-t", "--tag", required=True, metavar="PLACE", help="As `eaves package` takes it; {version} is the model's."
)
@click.option("--base", required=True, metavar="PLACE", help="A plain Python to build on.")
@click.option("--platform", "platforms", multiple=True, help="Such as linux/arm64; several make one index.")
@click.option("--allow-handler", is_flag=True, help="Take the artifact's handler.py along.")
@click.option("--plain-http", is_flag=True, help="Reach the registry without TLS.")
@click.option(
    "--published-to",
    "sink",
    envvar="K_SINK",
    default="",
    metavar="URL",
    help="Gets the event that the model is published; Knative's SinkBinding sets it. [K_SINK]",
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
    help="Local folder for everything between. [EAVES_WORK]",
)
def command(
    output: str, name: str, site: str, tag: str, base: str, platforms: tuple[str, ...], allow_handler: bool,
    plain_http: bool, sink: str, event: Path | None, work: Path,
) -> None:  # fmt: skip
    """Train, convert, package, push and tell: what a pipeline Job runs.

    Each step is a process of its own and may be repeated; settings of the training and the conversion come from the
    environment (EAVES_DATA_PATH, EAVES_TRAIN_EPOCHS, EAVES_CONVERT_PRECISION, ...). Ends with the failing step's code.
    """
    logs.configure()
    if not sink.startswith(("http://", "https://")):
        fault = Fault(origin="--published-to", path="", message=f"must be an http(s) address (got {sink!r})")
        hint = "a SinkBinding sets K_SINK when a Job is made: let it be ready first, then make the Job again"
        raise ConfigError([fault], hint=hint)
    told = [f"--output={output}", f"--name={name}", f"--work={work}", *([f"--event={event}"] if event else [])]
    packing = [f"--tag={tag}", f"--base={base}", f"--published-to={sink}", f"--site={site}"]
    packing += [f"--platform={platform}" for platform in platforms]
    packing += ["--allow-handler"] if allow_handler else []
    packing += ["--plain-http"] if plain_http else []

    from trainer.lifecycle import stop_on_signals

    with stop_on_signals() as stop:
        _run("train", ["trainer", *told], stop)
        run = _find_run(output, event, work)
        artifact = _artifact_of(run, work / "artifacts" / name)
        if not (artifact / "manifest.json").is_file():  # a conversion leaves a whole artifact or none
            _run("convert", ["converters", str(run), f"--output={artifact}"], stop)
        _run("publish", ["eaves.cli", "package", str(artifact), *packing], stop)


def _find_run(output: str, event: Path | None, work: Path) -> Path:
    """The run on this machine, where the training left it or a copy of it."""
    from trainer.event import read_event
    from trainer.place import build_place

    return build_place(read_event(event).output(output) if event else output, work).local


def _artifact_of(run: Path, folder: Path) -> Path:
    """Beside those of before, of which a conversion keeps what didn't change."""
    from trainer.run import open_run

    return folder / open_run(run).version


def _run(step: str, words: Sequence[str], stop: threading.Event) -> None:
    """One step, from beginning to end.

    Raises:
        StoppedError: Asked to stop; so was the step, and it has ended.
        SystemExit: It failed; with its own exit code.
    """
    _log.info("%s begins", step, extra={"step": step})
    started, code = time.monotonic(), None
    # In a session of its own, Ctrl-C reaches it through us only: a second signal would cut a checkpoint short.
    process = subprocess.Popen([sys.executable, "-P", "-m", *words], start_new_session=True)
    while code is None and not stop.is_set():
        try:
            code = process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    if code is None:
        process.terminate()
        process.wait()
        raise StoppedError(f"stopped at: {step}", hint="run the same command again; it goes on from there")
    if code:
        _log.error("%s ended with %d", step, code, extra={"step": step})
        sys.exit(code if code > 0 else 128 - code)
    _log.info("%s is done in %.1f s", step, time.monotonic() - started, extra={"step": step})

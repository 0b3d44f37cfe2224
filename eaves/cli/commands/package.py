"""The commands `eaves package` and `sign`, and `eaves pipeline`, which trains, converts, packages and publishes."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.settings import ConvertSettings, PipelineSettings
from eaves import logs
from eaves.cli.container_image import PLAIN_HTTP, access_options, build_access, default_platform
from eaves.cli.output import Command, output_option, print_value, replay_with_progress, say
from eaves.cli.project import ANY_PATH, ModelPath
from eaves.config import complete as complete_settings
from eaves.console.words import describe_size
from eaves.errors import ConfigError, Fault, OciError
from eaves.options import build_settings, settings_options

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from eaves.oci.copy import ImageLocation
    from eaves.oci.descriptor import Descriptor
    from eaves.oci.layout import ContentSource
    from eaves.oci.registry.transport import Access


CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "eaves" / "oci"
"""Folder for downloaded layers of base images. Source: XDG Base Directory Specification."""


def _packing_options(command: Command) -> Command:
    """Add the options of a container image and of its announcement to a command."""
    for option in (
        click.option(
            "--site", default="home", show_default=True, help="Site in the announcement's source, /eaves/SITE/NAME."
        ),
        click.option(
            "--published-to",
            "sink",
            envvar="K_SINK",
            default="",
            metavar="URL",
            help="URL that gets a dev.eaves.model.published.v1 event; the event's id is the same each time. Knative's "
            "SinkBinding sets it. [K_SINK]",
        ),
        click.option(
            "--allow-handler",
            is_flag=True,
            help="Include the artifact's handler.py, which is code of the artifact's author.",
        ),
        click.option(
            "--platform",
            "platforms",
            multiple=True,
            help="Platform of the container image, such as linux/arm64; can be repeated, which makes one index of all. "
            "Default: this machine's.",
        ),
        click.option(
            "--base",
            required=True,
            metavar="PLACE",
            help="Container image with Python to build on: a reference, or oci:DIR[:NAME].",
        ),
        click.option(
            "-t",
            "--tag",
            required=True,
            metavar="PLACE",
            help="Container image: REPOSITORY[:TAG] at a registry or oci:DIR[:NAME]; {version} is the model's.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("path", metavar="ARTIFACT", type=ModelPath())
@click.option("--python", default="", help="Python version of the base, such as 3.13, when the base doesn't state it.")
@_packing_options
@access_options
@output_option
def package(
    path: Path, tag: str, base: str, platforms: tuple[str, ...], python: str, allow_handler: bool,
    sink: str, site: str, access: Callable[[], Access], form: str,
) -> None:  # fmt: skip
    """Build the container image of ARTIFACT and push it to PLACE, without Docker and without root.

    Prints the container image's name by digest. The same inputs give the same digest on any machine.
    """
    from eaves.artifact import open_artifact
    from eaves.artifact.store import HANDLER
    from eaves.oci import package as builder
    from eaves.oci.copy import open_location
    from eaves.oci.descriptor import parse_image_platform
    from eaves.oci.layout import create_layout

    wanted = [parse_image_platform(text) for text in dict.fromkeys(platforms or (default_platform(),))]
    if "@sha256:" in tag:
        message = f"{tag} names a digest, which follows from the content and can't be chosen"
        raise OciError(message, hint="name a tag instead")
    artifact = open_artifact(path, level="full")
    below = open_location(base, access())
    target = tag.replace("{version}", artifact.manifest.version)
    known_as = str(below.reference) if below.reference else ""
    ground = builder.Base(source=below.store, descriptor=below.resolve(), name=known_as, python=python)
    goal = open_location(target, access(), create=True)
    reference = goal.reference
    if sink and reference is None:
        raise click.UsageError("--published-to is for a container image that is pushed to a registry.")
    with tempfile.TemporaryDirectory(prefix="eaves-package-") as folder, ThreadPoolExecutor(1) as beside:
        replayed = beside.submit(
            replay_with_progress, artifact, run_handler=allow_handler and HANDLER in artifact.manifest.files
        )
        made, source = builder.package(
            artifact,
            ground,
            create_layout(Path(folder) / "layout"),
            create_layout(CACHE.expanduser()),
            platforms=wanted,
            allow_handler=allow_handler,
            say=say,
        )
        for result in replayed.result():
            result.require()
        copied, present, name = _put(source, made, target, goal, below)
    if reference is not None and sink:
        _announce(artifact, str(replace(reference, tag="").pinned(made.digest)), sink, site)
    moved, kept = (sum(one.size for one in blobs) for blobs in (copied, present))
    say(f"copied {moved / 1e6:.2f} MB in {len(copied)} pieces; {kept / 1e6:.2f} MB were already there")
    if form == "table":
        click.echo(name)
    else:
        row = {"name": name, "digest": made.digest, "moved_bytes": moved, "present_bytes": kept}
        print_value(row, form)


def _announce(artifact: Artifact, image: str, sink: str, site: str) -> None:
    """Send an event to a sink, which says that the model is published.

    The environment variable K_CA_CERTS holds the sink's certificate authorities.

    Raises:
        ConfigError: When K_CA_CERTS holds no certificate, or when an environment variable of a proxy holds no address.
        DeliveryError: When the sink doesn't accept the event.
    """
    from eaves.delivery import SinkClient
    from eaves.http_client.proxies import parse_proxies
    from eaves.model_publication import announce, build_publication

    event = build_publication(artifact, image, site=site)
    try:
        client = SinkClient(ca_certs_pem=os.environ.get("K_CA_CERTS", ""), proxies=parse_proxies(os.environ))
    except ValueError as error:
        raise ConfigError.single("environment variable K_CA_CERTS", "", str(error)) from error
    with client:
        announce(event, sink, client)
    say(f"sent to {sink}: {event.type}, id {event.id}")


def _put(
    source: ContentSource, made: Descriptor, target: str, goal: ImageLocation, below: ImageLocation
) -> tuple[list[Descriptor], list[Descriptor], str]:
    """Copy the container image to its target; return what was copied and was there, and its name at the target."""
    from eaves.oci.copy import copy_image
    from eaves.oci.descriptor import DEFAULT_TAG

    to, base = goal.reference, below.reference
    # A registry can mount layers of its own repositories, so they aren't uploaded again.
    together = to is not None and base is not None and to.host == base.host and to.repository != base.repository
    mounts = [base.repository] if base is not None and together else []

    def begin(piece: Descriptor) -> Callable[[int], object]:
        if sys.stderr.isatty():
            title = piece.annotations.get("org.opencontainers.image.title", piece.digest[7:19])
            say(f"copying {title}, {describe_size(piece.size)}")
        return lambda _: None

    name = goal.name or DEFAULT_TAG
    moved, kept = copy_image(source, goal.store, made, name=name, mounts=mounts, progress=begin)
    return moved, kept, str(to.pinned(made.digest)) if to else f"{_folder(target)}@{made.digest}"


def _folder(target: str) -> str:
    """Return the target `oci:DIR:NAME` without its name, as `oci:DIR`; any other target is unchanged."""
    head, colon, name = target.rpartition(":")
    return head if colon and "/" not in name and head != "oci" else target


@click.command()
@click.argument("name", metavar="IMAGE")
@click.option("--key", required=True, help="File of the private key, or a key in a service that cosign knows.")
@access_options
def sign(name: str, key: str, access: Callable[[], Access]) -> None:
    """Sign the container image IMAGE, HOST/REPOSITORY[:TAG|@DIGEST], by the program cosign.

    Name the image by the digest that `eaves package` printed, because others may move a tag before it is signed. Prints
    the image's name by digest. Nothing is sent to a public log. The key's password is read from COSIGN_PASSWORD, or
    asked for; `cosign generate-key-pair` makes a key.
    """
    from eaves.oci import signatures
    from eaves.oci.descriptor import parse_reference
    from eaves.oci.registry.registry import Registry

    reference, registry = parse_reference(name), access()
    descriptor = Registry(reference, registry).resolve(reference.name)
    if not reference.digest:
        say(f"the tag {name} names {descriptor.digest} now; name the digest to be sure what is signed")
    pinned = reference.pinned(descriptor.digest)
    signatures.sign(pinned, key, registry)
    click.echo(str(pinned))


_log = logging.getLogger("eaves.pipeline")


@click.command()
@click.option(
    "--output", required=True, help="Directory or URI of the run; with --event, the parent of the run's directory."
)
@click.option("--name", required=True, help="Name of the model.")
@click.option(
    "--plain-http", is_flag=True, envvar=PLAIN_HTTP, help=f"Connect to the registry without TLS. [{PLAIN_HTTP}]"
)
@click.option(
    "--event",
    type=ANY_PATH,
    envvar="K_EVENT_PATH",
    help="Folder with a `dataset.updated` event, as JobSink mounts it. [K_EVENT_PATH]",
)
@click.option(
    "--work",
    type=ANY_PATH,
    envvar="EAVES_WORK",
    default=Path(".eaves-pipeline"),
    show_default=True,
    help="Local folder for intermediate files. [EAVES_WORK]",
)
@click.option("--parts", default=1, help="Number of pods of the Job that share the images.")
@click.option(complete_settings.FLAG, "complete", default="", metavar="JSON", help=complete_settings.HELP)
@_packing_options
@settings_options(PipelineSettings, section="pipeline.")
def pipeline(
    output: str, name: str, site: str, tag: str, base: str, platforms: tuple[str, ...], allow_handler: bool,
    plain_http: bool, sink: str, event: Path | None, work: Path, parts: int, complete: str, **options: Any,
) -> None:  # fmt: skip
    """Run a pipeline: train, convert, check the accuracy, package, push and publish. A pipeline Job runs this.

    Each step may be repeated. Settings come from --settings, as a Job passes them, and from the environment
    (EAVES_DATA_PATH, EAVES_TRAIN_EPOCHS, EAVES_CONVERT_PRECISION, EAVES_PIPELINE_FLOOR, ...). When a step fails, the
    command ends with the step's exit code. When the model is not good enough, it publishes nothing and ends with 79.
    """
    from eaves.local.processes.steps import run_step
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
        run_step("train", ["trainer", *place, f"--parts={parts}", *_select(complete, "data", "train")], stop)
        if parts > 1 and os.environ.get("JOB_COMPLETION_INDEX", "0") != "0":  # only the first pod has the run
            return
        run = build_location(read_event(event).output(output) if event else output, work)
        # Artifacts of earlier runs stay beside this one, because a conversion reuses their unchanged parts.
        artifact = work / "artifacts" / name / open_run(run.local).version
        if not (artifact / "manifest.json").is_file():  # a conversion leaves a whole artifact or none
            words = ["converters", str(run.local), f"--output={artifact}", *_select(complete, "convert")]
            run_step("convert", words, stop)
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
        run_step("publish", ["eaves.cli", "package", str(artifact), *packing], stop)
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

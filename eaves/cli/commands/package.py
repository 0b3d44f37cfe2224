"""The commands `eaves package` and `eaves sign`, which build a function's container image and sign it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eaves.cli.latest import ModelPath
from eaves.cli.output import describe_bytes, output_option, print_value, replay_with_progress, say
from eaves.cli.registry import access_options, default_platform
from eaves.errors import ConfigError, Fault, OciError

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from eaves.oci.copy import ImageLocation
    from eaves.oci.descriptor import Descriptor
    from eaves.oci.layout import ContentSource
    from eaves.oci.registry.transport import Access


CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "eaves" / "oci"
"""Folder for downloaded layers of base images. Source: XDG Base Directory Specification."""


@click.command()
@click.argument("path", metavar="ARTIFACT", type=ModelPath())
@click.option(
    "-t",
    "--tag",
    "target",
    required=True,
    metavar="PLACE",
    help="Container image: REPOSITORY[:TAG] at a registry or oci:DIR[:NAME]; {version} is the model's.",
)
@click.option(
    "--base",
    required=True,
    metavar="PLACE",
    help="Container image with Python to build on: a reference, or oci:DIR[:NAME].",
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    help="Platform of the container image, such as linux/arm64; can be repeated, which makes one index "
    "of all. Default: this machine's.",
)
@click.option("--python", default="", help="Python version of the base, such as 3.13, when the base doesn't state it.")
@click.option(
    "--allow-handler", is_flag=True, help="Include the artifact's handler.py, which is code of the artifact's author."
)
@click.option(
    "--published-to",
    "sink",
    default="",
    metavar="URL",
    help="URL that gets a dev.eaves.model.published.v1 event; the event's id is the same each time.",
)
@click.option("--site", default="home", show_default=True, help="Site in that event's source, /eaves/SITE/NAME.")
@access_options
@output_option
def package(
    path: Path, target: str, base: str, platforms: tuple[str, ...], python: str, allow_handler: bool,
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
    if "@sha256:" in target:
        message = f"{target} names a digest, which follows from the content and can't be chosen"
        raise OciError(message, hint="name a tag instead")
    artifact = open_artifact(path, level="full")
    below = open_location(base, access())
    target = target.replace("{version}", artifact.manifest.version)
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
        raise ConfigError([Fault(origin="environment variable K_CA_CERTS", path="", message=str(error))]) from error
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
            say(f"copying {title}, {describe_bytes(piece.size)}")
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

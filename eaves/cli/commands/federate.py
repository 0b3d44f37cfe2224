"""Commands of `eaves federate`: one model of many sites, which send sums over the features of their images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.settings import PipelineSettings
from eaves.base.names import NAME_PATTERN
from eaves.cli import CommandGroup, load_command
from eaves.cli.container_image import access_options
from eaves.cli.output import Command, print_line, say
from eaves.cli.project import DIRECTORY, ModelPath
from eaves.errors import ConfigError
from eaves.federation_events import FOLDER
from eaves.options import build_settings, settings_options

if TYPE_CHECKING:
    from converters.federation import CollectedModel
    from eaves.artifact import Artifact
    from eaves.oci.registry.transport import Access


@click.group(cls=CommandGroup)
def command() -> None:
    """Train one model at many sites, none of which sends its images."""


def _folder_option(command: Command) -> Command:
    return click.option(
        "--folder", type=DIRECTORY, required=True, help="Folder that `eaves receiver run --folder` writes to."
    )(command)


@command.command()
@_folder_option
@click.option(
    "--artifact",
    "base",
    type=ModelPath(exists=True, file_okay=False),
    required=True,
    help="Artifact whose backbone the sites use: the first one that was deployed, or a later one of the same backbone.",
)
@click.option(
    "--output", type=DIRECTORY, required=True, help="Folder of artifacts; a new one gets the name of its version."
)
@click.option(
    "--rename",
    "renames",
    multiple=True,
    metavar="OLD=NEW",
    help="Count a class of sites as another one; can be repeated. Names that differ in case, space, `_` and `-` only "
    "count as one without it.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="CLASS",
    help="Accept that the new model lacks a class of --artifact that no site has images of; can be repeated.",
)
@click.option(
    "--to",
    "tag",
    default="",
    metavar="PLACE",
    help="Container image to build and push the model to: REPOSITORY[:TAG]; {version} is the model's.",
)
@click.option("--base", "ground", default="", metavar="PLACE", help="With --to: container image with Python.")
@click.option("--platform", "platforms", multiple=True, help="With --to: platform of the image; can be repeated.")
@access_options
@settings_options(PipelineSettings, section="pipeline.")
@click.pass_context
def collect(
    ctx: click.Context, folder: Path, base: Path, output: Path, renames: tuple[str, ...], without: tuple[str, ...],
    tag: str, ground: str, platforms: tuple[str, ...], access: Callable[[], Access], **options: Any,
) -> None:  # fmt: skip
    """Merge the sums of all sites, and make an artifact when their judgements show that it is good enough.

    Sites load the merged head from the receiver, and judge it on images that they hold out. The command may be repeated
    at any time, and prints the artifact's path when there is one. It ends with 0 while it waits for sites, and with 79
    when the model is not good enough.
    """
    from converters.federation import collect as collect_model
    from eaves.artifact import open_artifact

    pairs = [text.partition("=") for text in renames]
    if faulty := next((text for text in renames if not all(text.partition("="))), None):
        raise ConfigError.single("--rename", "", f"must be OLD=NEW (got {faulty!r})")
    if tag and not ground:
        raise click.UsageError("--to needs --base.")
    settings = build_settings(PipelineSettings, options, section="pipeline.")
    found = collect_model(
        folder,
        open_artifact(base, level="full"),
        output,
        settings,
        renames={old: new for old, _, new in pairs},
        without=without,
        say=say,
    )
    if found.artifact is None:
        return
    print_line(found.artifact.path)
    if tag:
        chosen = {name: ctx.params[name] for name in ("plain_http", "registry_ca")}
        publish = load_command("package")
        _publish(
            found,
            found.artifact,
            tag,
            access(),
            lambda path: ctx.invoke(publish, path=path, tag=tag, base=ground, platforms=platforms, **chosen),
        )


def _publish(
    found: CollectedModel, artifact: Artifact, tag: str, access: Access, package: Callable[[Path], object]
) -> None:
    """Push an artifact's container image unless it is there, and tag the roles that later models are compared by."""
    from converters.publication_check import find_published, tag_roles

    version = artifact.manifest.version
    models = find_published(tag, version, access)
    for one in (models.own, models.last):
        if one is not None and one.artifact_digest == artifact.digest:
            say(f"{one.name} is this model")
            return
    package(artifact.path)
    best = models.best or models.last
    is_better = best is None or best.artifact_digest == found.exceeded
    for line in tag_roles(models, tag, version, None if is_better else best, access):
        say(line)


@command.command()
@_folder_option
@click.option("--site", required=True, help="Name of the site.")
def forget(folder: Path, site: str) -> None:
    """Delete a site's sums and judgements, and use none that arrive later.

    The next `collect` makes the model that the other sites give. Artifacts and container images that were made before
    stay.
    """
    from trainer.federation.merging import FORGOTTEN, forget_site

    if not NAME_PATTERN.fullmatch(site):
        raise ConfigError.single("--site", "", f"must be the name of a site (got {site!r})")
    count = forget_site(folder / FOLDER, site)
    say(f"deleted {count} files of {site}; {folder / FOLDER / FORGOTTEN} keeps its name. Run `eaves federate collect`.")

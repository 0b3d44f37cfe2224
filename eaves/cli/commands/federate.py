"""Commands of `eaves federate`: one model of many sites, which send sums over the features of their images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.settings import PipelineSettings
from eaves.base.names import NAME_PATTERN
from eaves.cli import CommandGroup, load_command
from eaves.cli.container_image import access_options
from eaves.cli.output import Command, print_line, print_manifests, say
from eaves.cli.project import DIRECTORY, ModelPath
from eaves.errors import ConfigError
from eaves.federation_events import FOLDER
from eaves.options import build_settings, settings_options
from knative.resources.federation import FederationDeployment

if TYPE_CHECKING:
    from eaves.artifact import Artifact
    from eaves.oci.registry.transport import Access


NOISE_COSTS = "500 photos with 128 features lost 7 points of 81 at an epsilon of 8, 27 at 1, 42 at 0.5"
"""What noise did to a head, as docs/benchmarks.md says."""


@click.group(cls=CommandGroup)
def command() -> None:
    """Train one model at many sites, none of which sends its images."""


def _folder_option(command: Command) -> Command:
    return click.option(
        "--folder", type=DIRECTORY, required=True, help="Folder that `eaves receiver run --folder` writes to."
    )(command)


def _site_option(command: Command) -> Command:
    def check(_context: click.Context, _option: click.Parameter, site: str) -> str:
        if not NAME_PATTERN.fullmatch(site):
            raise ConfigError.single("--site", "", f"must be the name of a site (got {site!r})")
        return site

    return click.option("--site", required=True, callback=check, help="Name of the site.")(command)


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
    "--false-alarms",
    type=click.FloatRange(0.0001, 0.5),
    metavar="SHARE",
    default=0.05,
    show_default=True,
    help="Largest share of good images that may raise an alarm, for a model of the task anomaly; it takes 59 held-out "
    "groups of good images of all sites, 299 for 0.01.",
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
def collect(
    folder: Path, base: Path, output: Path, renames: tuple[str, ...], without: tuple[str, ...], false_alarms: float,
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
        false_alarms=false_alarms,
        say=say,
    )
    if found.artifact is None:
        return
    print_line(found.artifact.path)
    if tag:
        ctx = click.get_current_context()
        chosen = {name: ctx.params[name] for name in ("plain_http", "registry_ca")}
        package = partial(ctx.invoke, load_command("package"), path=found.artifact.path, tag=tag, base=ground)
        _publish(found.artifact, found.exceeded, tag, access(), partial(package, platforms=platforms, **chosen))


def _publish(artifact: Artifact, exceeded: str, tag: str, access: Access, package: Callable[[], object]) -> None:
    """Push an artifact's container image unless it is there, and tag the roles that later models are compared by."""
    from converters.publication_check import find_published, tag_roles

    version = artifact.manifest.version
    models = find_published(tag, version, access)
    for one in (models.own, models.last):
        if one is not None and one.artifact_digest == artifact.digest:
            say(f"{one.name} is this model")
            return
    package()
    best = models.best or models.last
    is_better = best is None or best.artifact_digest == exceeded
    for line in tag_roles(models, tag, version, None if is_better else best, access):
        say(line)


@command.command()
@click.option(
    "--artifact",
    type=ModelPath(exists=True, file_okay=False),
    required=True,
    help="Artifact that serves at the site, with a head on a frozen backbone.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder with one subfolder of images per class, or with photos and labels.csv. Photos in audit are left out.",
)
@_site_option
@click.option("--relay", required=True, metavar="URL", help="Address of the site's relay, which takes events.")
@click.option("--receiver", default="", metavar="URL", help="Receiver that has the merged head, which is judged here.")
@click.option("--credentials", type=DIRECTORY, help="Folder with the site's token for the receiver.")
@click.option(
    "--state",
    type=DIRECTORY,
    default=Path(".eaves/federation"),
    show_default=True,
    help="Folder that keeps what was sent; without it, a later file may differ from an earlier one by few images.",
)
@click.option(
    "--minimum",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Minimum number of images of a class by which any two files of the site differ.",
)
@click.option(
    "--features",
    type=click.IntRange(min=64),
    help="Number of random projections that the features are reduced to, for a small link. Default: no projection.",
)
@click.option(
    "--epsilon",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="LOSS",
    help="Add noise to each file that hides every image so well (differential privacy); the model is worse. Default: "
    "no noise.",
)
def site(
    artifact: Path, images: Path, site: str, relay: str, receiver: str, credentials: Path | None, state: Path,
    minimum: int, features: int | None, epsilon: float | None,
) -> None:  # fmt: skip
    """Send sums over the features of a site's images, and judge the merged head on images that are held out.

    No image leaves the site. The command may be repeated at any time: it sends what has changed.
    """
    from eaves.artifact import open_artifact
    from eaves.delivery import SinkClient
    from eaves.link.client import LinkClient
    from eaves.model_publication import announce
    from trainer.federation.artifact_features import ArtifactFeatures
    from trainer.federation.site_sums import FederatedSite, ReleaseSettings

    if epsilon:
        say(f"noise costs accuracy: {NOISE_COSTS}")
    hint = "start the relay, or correct --relay, then run the same command again"
    settings = ReleaseSettings(site=site, minimum=minimum, features=features or 0, epsilon=epsilon or 0.0)
    send = partial(announce, url=relay, client=SinkClient(), what=f"of {site}", hint=hint)
    opened = ArtifactFeatures(open_artifact(artifact, level="full"))
    if features and opened.is_diagonal:
        raise ConfigError.single("--features", "", f"must be left out for {artifact}, whose sums are small already")
    own = FederatedSite(features=opened, images=images, state=state, settings=settings, send=send, say=say)
    own.run(LinkClient(receiver, credentials).fetch_head if receiver else None)


@command.command()
@_folder_option
@_site_option
def forget(folder: Path, site: str) -> None:
    """Delete a site's sums and judgements, and use none that arrive later.

    The next `collect` makes the model that the other sites give. Artifacts and container images that were made before
    stay.
    """
    from trainer.federation.merging import FORGOTTEN, forget_site

    count = forget_site(folder / FOLDER, site)
    say(f"deleted {count} files of {site}; {folder / FOLDER / FORGOTTEN} keeps its name. Run `eaves federate collect`.")


@command.command()
@click.option("-o", "--output", "target", type=DIRECTORY, help="Folder for the files.")
@settings_options(FederationDeployment, section="federation.")
def render(target: Path | None, **options: Any) -> None:
    """Write the Kubernetes objects that run `site` at a site, or `collect` beside a receiver, by a schedule.

    With --site they are those of a site, in the namespace of its relay; without, they belong to a receiver that writes
    into a volume (`eaves receiver render --folder-size`). kubectl, Argo CD and Flux apply the objects unchanged.
    """
    from knative.resources.federation import build_federation

    wanted = build_settings(FederationDeployment, options, section="federation.")
    print_manifests({"": tuple(build_federation(wanted))}, target)

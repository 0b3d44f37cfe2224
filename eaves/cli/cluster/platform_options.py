"""Options with which commands choose a platform and sites, and connect to their clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, TypeVar

import click

from eaves.cli.cluster.deploy_notes import name_person
from eaves.errors import ConfigError, Fault
from eaves.platform import Platform
from knative.settings import KnativeSettings, RolloutSettings, SiteSettings

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.platform import KnativePlatform

Command = TypeVar("Command", bound=Callable[..., Any])
LOCAL, KNATIVE = "local", "knative"
HERE = "here"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformChoice:
    """Values of the options that select a platform and sites.

    Attributes:
        platform: `local`, `knative`, or empty, when the other options decide.
        kubeconfig: Path of the kubeconfig file; None for the file that kubectl uses.
        context: Context of the kubeconfig, in place of the site's; empty for the site's.
        namespace: Namespace, in place of the site's; empty for the site's.
        sites: Names of the chosen sites.
        every: Whether all sites are chosen.
    """

    platform: str = ""
    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = ""
    sites: tuple[str, ...] = ()
    every: bool = False

    @property
    def knative(self) -> bool:
        """Whether clusters are chosen, by `--on knative` or by an option that only clusters have."""
        if self.platform:
            return self.platform == KNATIVE
        return bool(self.context or self.namespace or self.sites or self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScope:
    """The settings in eaves.yaml that commands on clusters need.

    Attributes:
        name: Name of the function; empty when there is no eaves.yaml.
        knative: Settings of deployments to clusters.
        rollout: Settings of rollouts.
        sites: All sites; never empty.
        repository: Repository that a pipeline publishes to, `job.repository`; empty when there is none.
    """

    name: str
    knative: KnativeSettings
    rollout: RolloutSettings
    sites: tuple[SiteSettings, ...]
    repository: str = ""


def cluster_options(command: Command) -> Command:
    """Add the options that select sites, with `--all`, to a command; `read_choice` takes their values."""
    return site_options(click.option("--all", "every", is_flag=True, help="All sites in eaves.yaml.")(command))


def site_options(command: Command) -> Command:
    """Add `--kubeconfig`, `--context`, `--namespace` and `--site` to a command; `read_choice` takes their values."""
    options = (
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path),
            envvar="KUBECONFIG",
            help="Kubeconfig file. Default: the file that kubectl uses. [KUBECONFIG]",
        ),
        click.option(
            "--context",
            default="",
            help="Context of the kubeconfig. Default: the site's context, else the current one.",
        ),
        click.option("--namespace", default="", help="Namespace. Default: the site's namespace, else the context's."),
        click.option("--site", "sites", default="", metavar="A,B", help="Names of sites in eaves.yaml."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def on_option(command: Command) -> Command:
    """Add `--on`, which selects the platform, to a command."""
    return click.option(
        "--on",
        "platform",
        type=click.Choice([LOCAL, KNATIVE]),
        help="Platform: this machine (local), or the clusters of the sites (knative). --site, --all and --context "
        "imply knative.",
    )(command)


def read_choice(
    *,
    kubeconfig: Path | None,
    context: str,
    namespace: str,
    sites: str,
    every: bool = False,
    platform: str | None = None,
) -> PlatformChoice:
    """Return the values of the options that select a platform and sites as one object."""
    named = tuple(name.strip() for name in sites.split(",") if name.strip())
    return PlatformChoice(
        platform=platform or "", kubeconfig=kubeconfig, context=context, namespace=namespace, sites=named, every=every
    )


def load_scope(file: Path) -> SiteScope:
    """Load the settings for clusters in eaves.yaml.

    Without the file, all settings have their defaults, and there is one site, whose context and namespace come from
    options.

    Raises:
        ConfigError: When the file has faults.
    """
    from eaves.cli.app.project import load_workspace

    if not file.exists():
        site = SiteSettings(name=HERE)
        return SiteScope(name="", knative=KnativeSettings(), rollout=RolloutSettings(), sites=(site,))
    project = load_workspace(file).project
    return SiteScope(
        name=project.name,
        knative=project.knative,
        rollout=project.rollout,
        sites=project.sites or (SiteSettings(name=project.site),),
        repository=project.job.repository,
    )


def choose_sites(known: tuple[SiteSettings, ...], choice: PlatformChoice) -> tuple[SiteSettings, ...]:
    """Return the sites that a command is for, those of lower waves (`wave` of a site in eaves.yaml) first.

    Raises:
        ConfigError: When the options contradict each other, name an unknown site, or select none of several sites.
    """
    names = [site.name for site in known]
    if choice.sites and choice.every:
        fault = Fault(origin="--site", path="", message="excludes --all: it selects some sites, --all every site")
        raise ConfigError([fault], hint="leave out --site or --all")
    unknown = [name for name in choice.sites if name not in names]
    if unknown:
        faults = [Fault(origin="--site", path="", message=f"eaves.yaml has no site {name!r}") for name in unknown]
        raise ConfigError(faults, hint=f"sites in eaves.yaml: {', '.join(names)}")
    if choice.every or len(known) == 1:
        chosen = known
    elif choice.sites:
        chosen = tuple(site for site in known if site.name in choice.sites)
    else:
        fault = Fault(origin="--site", path="", message=f"is required, as eaves.yaml has {len(known)} sites")
        raise ConfigError([fault], hint=f"add --site {names[0]} for one site, or --all for every site")
    if choice.context or choice.namespace:
        if len(chosen) != 1:
            message = f"is for one site, and {len(chosen)} sites are selected; the same holds for --namespace"
            fault = Fault(origin="--context", path="", message=message)
            raise ConfigError([fault], hint="choose one site with --site")
        (site,) = chosen
        chosen = (replace(site, context=choice.context or site.context, namespace=choice.namespace or site.namespace),)
    return tuple(sorted(chosen, key=lambda site: site.wave))


def choose_site(known: tuple[SiteSettings, ...], choice: PlatformChoice) -> SiteSettings:
    """Return the one site that a command is for.

    Raises:
        ConfigError: When the options select several sites, or none.
    """
    chosen = choose_sites(known, choice)
    if len(chosen) != 1:
        message = f"this command takes one site, and {len(chosen)} are selected"
        fault = Fault(origin="--site", path="", message=message)
        raise ConfigError([fault], hint=f"add --site {chosen[0].name}")
    return chosen[0]


def open_site(site: SiteSettings, choice: PlatformChoice) -> Cluster:
    """Connect to the cluster of a site.

    Raises:
        EavesError: When the kubeconfig has no such cluster.
    """
    from knative.client.cluster import open_cluster

    return open_cluster(kubeconfig=choice.kubeconfig, context=site.context, namespace=site.namespace)


def open_platform(scope: SiteScope, site: SiteSettings, choice: PlatformChoice) -> KnativePlatform:
    """Connect to the platform at a site.

    Raises:
        EavesError: When the kubeconfig has no such cluster.
    """
    from knative.platform import KnativePlatform

    return KnativePlatform(open_site(site, choice), scope.knative, site, by=name_person())


def choose_platform(file: Path, state_dir: Path, choice: PlatformChoice) -> Platform[Never]:
    """Connect to the one platform that a command is for.

    The type of the result prevents a deploy, because each platform takes specs of its own type.

    Raises:
        EavesError: When the options don't select one platform, or when the platform can't be reached.
    """
    if not choice.knative:
        from eaves.local.client import LocalPlatform

        return LocalPlatform(state_dir)
    scope = load_scope(file)
    return open_platform(scope, choose_site(scope.sites, choice), choice)

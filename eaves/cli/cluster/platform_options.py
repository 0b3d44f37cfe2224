"""How commands choose a platform and sites, and reach their clusters: the same options on each."""

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
    """What the options say.

    Attributes:
        platform: `local`, `knative`, or empty: as the other options suggest.
        kubeconfig: File of contexts; None: kubectl's own choice.
        context: Context of it, in place of the site's.
        namespace: Namespace, in place of the site's.
        sites: Names of sites.
        every: All sites.
    """

    platform: str = ""
    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = ""
    sites: tuple[str, ...] = ()
    every: bool = False

    @property
    def knative(self) -> bool:
        """Whether clusters are meant: it is said, or a site is."""
        if self.platform:
            return self.platform == KNATIVE
        return bool(self.context or self.namespace or self.sites or self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteScope:
    """What commands need of eaves.yaml that look at clusters.

    Attributes:
        name: Of the function; empty without an eaves.yaml.
        knative: How things stand there.
        rollout: How a new revision takes over.
        sites: Those there are.
    """

    name: str
    knative: KnativeSettings
    rollout: RolloutSettings
    sites: tuple[SiteSettings, ...]


def cluster_options(command: Command) -> Command:
    """`--kubeconfig`, `--context`, `--namespace`, `--site`, `--all`; `read_choice` takes what they say."""
    return site_options(click.option("--all", "every", is_flag=True, help="All sites in eaves.yaml.")(command))


def site_options(command: Command) -> Command:
    """The same without `--all`."""
    options = (
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path),
            envvar="KUBECONFIG",
            help="Kubeconfig file. Not given: the file that kubectl uses. [KUBECONFIG]",
        ),
        click.option(
            "--context",
            default="",
            help="Context of the kubeconfig. Not given: the site's context, else the current one.",
        ),
        click.option("--namespace", default="", help="Namespace. Not given: the site's namespace, else the context's."),
        click.option("--site", "sites", default="", metavar="A,B", help="Names of sites in eaves.yaml."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def on_option(command: Command) -> Command:
    """`--on`: which platform."""
    return click.option(
        "--on",
        "platform",
        type=click.Choice([LOCAL, KNATIVE]),
        help="Platform: this machine, or the clusters of the sites. --site, --all or --context imply knative.",
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
    """The options' values as one."""
    named = tuple(name.strip() for name in sites.split(",") if name.strip())
    return PlatformChoice(
        platform=platform or "", kubeconfig=kubeconfig, context=context, namespace=namespace, sites=named, every=every
    )


def load_scope(file: Path) -> SiteScope:
    """What eaves.yaml says of clusters; without a file, what the options will say is all there is.

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
    )


def choose_sites(known: tuple[SiteSettings, ...], choice: PlatformChoice) -> tuple[SiteSettings, ...]:
    """The sites that a command is for, lower waves first.

    Raises:
        ConfigError: When they can't be told.
    """
    names = [site.name for site in known]
    if choice.sites and choice.every:
        fault = Fault(origin="--site", path="", message="means some sites, and --all every one")
        raise ConfigError([fault], hint="leave one of them out")
    unknown = [name for name in choice.sites if name not in names]
    if unknown:
        faults = [Fault(origin="--site", path="", message=f"no site {name!r}") for name in unknown]
        raise ConfigError(faults, hint=f"sites in eaves.yaml: {', '.join(names)}")
    if choice.every or len(known) == 1:
        chosen = known
    elif choice.sites:
        chosen = tuple(site for site in known if site.name in choice.sites)
    else:
        fault = Fault(origin="--site", path="", message=f"eaves.yaml has {len(known)} sites")
        raise ConfigError([fault], hint=f"--site {names[0]} for one of them, --all for every one")
    if choice.context or choice.namespace:
        if len(chosen) != 1:
            fault = Fault(origin="--context", path="", message=f"can't be the same for {len(chosen)} sites")
            raise ConfigError([fault], hint="choose one site with --site")
        (site,) = chosen
        chosen = (replace(site, context=choice.context or site.context, namespace=choice.namespace or site.namespace),)
    return tuple(sorted(chosen, key=lambda site: site.wave))


def choose_site(known: tuple[SiteSettings, ...], choice: PlatformChoice) -> SiteSettings:
    """The one site that a command is for.

    Raises:
        ConfigError: When several are meant.
    """
    chosen = choose_sites(known, choice)
    if len(chosen) != 1:
        fault = Fault(origin="--site", path="", message=f"this is for one site, not for {len(chosen)}")
        raise ConfigError([fault], hint=f"--site {chosen[0].name}")
    return chosen[0]


def open_site(site: SiteSettings, choice: PlatformChoice) -> Cluster:
    """The cluster of a site.

    Raises:
        EavesError: When the kubeconfig names none.
    """
    from knative.client.cluster import open_cluster

    return open_cluster(kubeconfig=choice.kubeconfig, context=site.context, namespace=site.namespace)


def open_platform(scope: SiteScope, site: SiteSettings, choice: PlatformChoice) -> KnativePlatform:
    """The platform at a site.

    Raises:
        EavesError: When the kubeconfig names none.
    """
    from knative.platform import KnativePlatform

    return KnativePlatform(open_site(site, choice), scope.knative, site, by=name_person())


def choose_platform(file: Path, state_dir: Path, choice: PlatformChoice) -> Platform[Never]:
    """The one platform that a command is for; no app is deployed by it, as each platform takes its own.

    Raises:
        EavesError: When it can't be told or reached.
    """
    if not choice.knative:
        from eaves.local.client import LocalPlatform

        return LocalPlatform(state_dir)
    scope = load_scope(file)
    return open_platform(scope, choose_site(scope.sites, choice), choice)

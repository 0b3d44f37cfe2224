"""How commands choose sites and reach their clusters: the same options on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.errors import ConfigError, Fault
from knative.settings import SiteSettings

if TYPE_CHECKING:
    from knative.cluster import Cluster

    from eaves.cli.project import Project

Command = TypeVar("Command", bound=Callable[..., Any])
LOCAL, KNATIVE = "local", "knative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the options say.

    Attributes:
        kubeconfig: File of contexts; None: kubectl's own choice.
        context: Context of it, in place of the site's.
        namespace: Namespace, in place of the site's.
        sites: Names of sites.
        every: All sites.
    """

    kubeconfig: Path | None
    context: str
    namespace: str
    sites: tuple[str, ...]
    every: bool


def cluster_options(command: Command) -> Command:
    """`--kubeconfig`, `--context`, `--namespace`, `--site`, `--all`; the command gets a `choice`."""
    options = (
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path),
            envvar="KUBECONFIG",
            help="The file of contexts; kubectl's own when not given. [KUBECONFIG]",
        ),
        click.option("--context", default="", help="Context of the kubeconfig; the site's, or the current one."),
        click.option("--namespace", default="", help="Namespace; the site's, or the context's."),
        click.option("--site", "sites", default="", metavar="A,B", help="Sites of eaves.yaml, by name."),
        click.option("--all", "every", is_flag=True, help="Every site of eaves.yaml."),
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
        default=LOCAL,
        show_default=True,
        help="What runs it: this machine, or the clusters of the sites.",
    )(command)


def read_choice(*, kubeconfig: Path | None, context: str, namespace: str, sites: str, every: bool) -> Choice:
    """The options' values as one."""
    named = tuple(name.strip() for name in sites.split(",") if name.strip())
    return Choice(kubeconfig=kubeconfig, context=context, namespace=namespace, sites=named, every=every)


def choose_sites(project: Project, choice: Choice) -> tuple[SiteSettings, ...]:
    """The sites that a command is for, lower waves first.

    Raises:
        ConfigError: When they can't be told.
    """
    known = project.sites or (SiteSettings(name=project.site),)
    names = [site.name for site in known]
    unknown = [name for name in choice.sites if name not in names]
    if unknown:
        faults = [Fault(origin="--site", path="", message=f"no site {name!r}") for name in unknown]
        raise ConfigError(faults, hint=f"sites in eaves.yaml: {', '.join(names)}")
    if choice.every:
        chosen = known
    elif choice.sites:
        chosen = tuple(site for site in known if site.name in choice.sites)
    elif len(known) == 1:
        chosen = known
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


def open_site(site: SiteSettings, choice: Choice, *, timeout_s: float = 30.0) -> Cluster:
    """The cluster of a site.

    Raises:
        EavesError: When the kubeconfig names none.
    """
    from knative.cluster import open_cluster

    return open_cluster(
        kubeconfig=choice.kubeconfig, context=site.context, namespace=site.namespace, timeout_s=timeout_s
    )

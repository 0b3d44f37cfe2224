"""The options that choose this machine or sites for a command, connections to clusters, and work at many sites."""

from __future__ import annotations

import functools
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, TypeVar

import click

from eaves.cli.output import Column, Columns, Command, Kind, print_rows, progress, say
from eaves.cli.project import ANY_PATH, Project, Workspace, build_default_project, load_workspace
from eaves.errors import CancelledError, ConfigError, Fault, FleetError
from eaves.platform import Platform
from knative.settings import SiteSettings

if TYPE_CHECKING:
    from knative.client.cluster import Cluster
    from knative.multi_site import SiteOutcome
    from knative.platform import KnativePlatform

T = TypeVar("T")
FILE = "eaves.yaml"
LOCAL, KNATIVE = "local", "knative"
COLUMNS: Columns = {
    "site": "SITE",
    "state": "STATE",
    "what": Column("WHAT", Kind.REASON),
    "seconds": "SECONDS",
}
STATES = ("done", "unreachable", "failed", "skipped", "stopped")
REACH_S = 10.0
"""Timeout of a first, small request to one of several sites, seconds; longer requests follow once it has answered."""
PROBE_S = 0.5
"""Maximum time of a connection to the local platform's port, seconds."""

_file: dict[str, Any] = {
    "type": ANY_PATH,
    "default": Path(FILE),
    "show_default": True,
    "help": "Settings file of the project.",
}
file_option = click.option("-f", "--file", **_file)
"""Adds `-f` and `--file`, the path of eaves.yaml, to a command."""
state_option = click.option(
    "--state",
    "state_dir",
    type=ANY_PATH,
    default=Path(".eaves"),
    show_default=True,
    envvar="EAVES_STATE",
    help="The local platform's state directory. [EAVES_STATE]",
)
"""Adds `--state`, the local platform's state directory, to a command."""
_OPTIONS = {
    "file": file_option,
    "long_file": click.option("--file", **_file),
    "state": state_option,
    "on": click.option(
        "--on",
        "platform",
        type=click.Choice([LOCAL, KNATIVE]),
        help="Platform: this machine (local), or the clusters of the sites (knative). --site, --all and --context "
        "imply knative.",
    ),
    "kubeconfig": click.option(
        "--kubeconfig",
        type=ANY_PATH,
        envvar="KUBECONFIG",
        help="Kubeconfig file. Default: the file that kubectl uses. [KUBECONFIG]",
    ),
    "context": click.option(
        "--context",
        default="",
        help="Context of the kubeconfig. Default: the site's context, else the current one.",
    ),
    "namespace": click.option(
        "--namespace", default="", help="Namespace. Default: the site's namespace, else the context's."
    ),
    "site": click.option("--site", "sites", default="", metavar="A,B", help="Names of sites in eaves.yaml."),
    "all": click.option("--all", "every", is_flag=True, help="All sites in eaves.yaml."),
    "parallel": click.option(
        "--parallel",
        type=click.IntRange(1, 256),
        default=32,
        show_default=True,
        help="Number of sites that are worked on at the same time.",
    ),
    "max_failures": click.option(
        "--max-failures",
        type=click.IntRange(0),
        default=None,
        help="Number of sites that may fail: after one more failure no further site is started. Unreachable sites "
        "don't count. Default: no limit.",
    ),
}
_SITES = ("kubeconfig", "context", "namespace", "site")
_FLEET = ("parallel", "max_failures")


def place_options(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that adds options which choose where a command works; it receives them as one `place`.

    Args:
        names: The options beside `--kubeconfig`, `--context`, `--namespace` and `--site`: `file`, or `long_file` where
            `-f` is `--follow`; `state`, `on`, `all`, and `fleet` for `--parallel` and `--max-failures`.
    """
    chosen = [*(name for name in ("file", "long_file", "state", "on") if name in names), *_SITES]
    chosen += [*(["all"] if "all" in names else []), *(_FLEET if "fleet" in names else ())]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gather(*args: Any, sites: str, platform: str | None = None, **values: Any) -> Any:
            own = {name: values.pop(name) for name in Place.__dataclass_fields__ if name in values}
            named = tuple(name.strip() for name in sites.split(",") if name.strip())
            return command(*args, place=Place(sites=named, platform=platform or "", **own), **values)

        decorated: Any = gather
        for name in reversed(chosen):
            decorated = _OPTIONS[name](decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


@dataclass(frozen=True, kw_only=True)
class Place:
    """This machine or the sites that a command works at: the values of the options of `place_options`.

    Attributes:
        file: Path of eaves.yaml.
        state_dir: State directory of the local platform.
        platform: `local`, `knative`, or empty, when the other options decide.
        kubeconfig: Path of the kubeconfig file; None for the file that kubectl uses.
        context: Context of the kubeconfig, in place of the site's; empty for the site's.
        namespace: Namespace, in place of the site's; empty for the site's.
        sites: Names of the chosen sites.
        every: Whether all sites are chosen.
        parallel: Number of sites that are worked on at the same time.
        max_failures: Number of sites that may fail: after one more failure no further site is started. None for no
            limit.
    """

    file: Path = Path(FILE)
    state_dir: Path = Path(".eaves")
    platform: str = ""
    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = ""
    sites: tuple[str, ...] = ()
    every: bool = False
    parallel: int = 32
    max_failures: int | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether clusters are chosen, by `--on knative` or by an option that only clusters have."""
        if self.platform:
            return self.platform == KNATIVE
        return bool(self.context or self.namespace or self.sites or self.every)

    @cached_property
    def workspace(self) -> Workspace:
        """The project in eaves.yaml.

        Raises:
            ConfigError: When the file is missing or has faults.
        """
        return load_workspace(self.file)

    @cached_property
    def project(self) -> Project:
        """The settings in eaves.yaml; without the file, defaults without a name and one site.

        Raises:
            ConfigError: When the file has faults.
        """
        return self.workspace.project if self.file.exists() else build_default_project()

    @cached_property
    def chosen(self) -> tuple[SiteSettings, ...]:
        """The sites that the command is for, those of lower waves (`wave` of a site in eaves.yaml) first.

        Raises:
            ConfigError: When the options contradict each other, name an unknown site, or select none of several sites.
        """
        known = self.project.sites or (SiteSettings(name=self.project.site),)
        names = [site.name for site in known]
        if self.sites and self.every:
            raise _refuse("excludes --all: it selects some sites, --all every site", "leave out --site or --all")
        if unknown := [name for name in self.sites if name not in names]:
            faults = [Fault(origin="--site", path="", message=f"eaves.yaml has no site {name!r}") for name in unknown]
            raise ConfigError(faults, hint=f"sites in eaves.yaml: {', '.join(names)}")
        chosen = known if self.every else tuple(site for site in known if site.name in self.sites)
        if not chosen and len(known) > 1:
            hint = f"add --site {names[0]} for one site, or --all for every site"
            raise _refuse(f"is required, as eaves.yaml has {len(known)} sites", hint)
        chosen = chosen or known
        if self.context or self.namespace:
            if len(chosen) != 1:
                message = f"is for one site, and {len(chosen)} sites are selected; the same holds for --namespace"
                raise _refuse(message, "choose one site with --site", origin="--context")
            (site,) = chosen
            context, namespace = self.context or site.context, self.namespace or site.namespace
            chosen = (replace(site, context=context, namespace=namespace),)
        return tuple(sorted(chosen, key=lambda site: site.wave))

    @property
    def one(self) -> SiteSettings:
        """The one site that the command is for.

        Raises:
            ConfigError: When the options select several sites, or none.
        """
        if len(self.chosen) != 1:
            message = f"this command takes one site, and {len(self.chosen)} are selected"
            raise _refuse(message, f"add --site {self.chosen[0].name}")
        return self.chosen[0]

    def open_cluster(self, site: SiteSettings) -> Cluster:
        """Connect to the cluster of a site.

        Raises:
            EavesError: When the kubeconfig has no such cluster.
        """
        from knative.client.cluster import open_cluster

        return open_cluster(kubeconfig=self.kubeconfig, context=site.context, namespace=site.namespace)

    def open_platform(self) -> Platform[Never]:
        """Connect to the one platform that the command is for.

        The type of the result prevents a deploy, because each platform takes specs of its own type.

        Raises:
            EavesError: When the options don't select one platform, or when the platform can't be reached.
        """
        if not self.is_cluster:
            from eaves.local.client import LocalPlatform

            return LocalPlatform(self.state_dir)
        return Visit(place=self, site=self.one, is_alone=True).platform()

    def name_function(self, name: str) -> str:
        """Return the name of the function that a command is for: the given one, else that in eaves.yaml.

        Raises:
            ConfigError: When no name is given and there is no eaves.yaml.
        """
        if found := name or self.project.name:
            return found
        hint = "name the function, or run the command in the folder of eaves.yaml"
        raise _refuse("is required, as there is no eaves.yaml that names the function", hint, origin="NAME")

    def visit(self, operation: Callable[[Visit], T]) -> list[SiteOutcome[T]]:
        """Run an operation at every chosen site, with a progress bar when there are several, and return the outcomes.

        Raises:
            EavesError: When the operation fails at the only site.
        """
        from knative.multi_site import DONE, SiteOutcome, run_on_sites

        is_alone = len(self.chosen) == 1

        def work(site: SiteSettings) -> T:
            return operation(Visit(place=self, site=site, is_alone=is_alone))

        if is_alone:
            return [SiteOutcome(site=self.chosen[0].name, state=DONE, result=work(self.chosen[0]))]
        with progress("sites", len(self.chosen), is_hidden=not sys.stderr.isatty()) as bar:
            return run_on_sites(
                self.chosen,
                work,
                parallel=self.parallel,
                max_failures=self.max_failures,
                show=lambda _: bar.update(1),
            )

    def run(
        self,
        operation: Callable[[Visit], str],
        *,
        again: str,
        form: str = "table",
    ) -> None:
        """Run an operation at every chosen site, and print its results: a sentence for one site, a table for several.

        Args:
            operation: Does the work at one site and returns its result as a short text.
            again: Command that a hint suggests for sites where the operation failed or wasn't started.
            form: Format of the table: `table`, `json` or `yaml`.

        Raises:
            EavesError: When the operation fails at the only site.
            FleetError: When the operation failed or wasn't started at one of several sites.
            CancelledError: When Ctrl-C stopped the command.
        """
        outcomes = self.visit(operation)
        rows = []
        for one in outcomes:
            what = one.result or str(one.error or "")
            row = {"site": one.site, "state": one.state, "what": what, "seconds": round(one.duration_s, 1)}
            rows.append({**row, "hint": one.error.hint} if one.error is not None and one.error.hint else row)
        if len(rows) == 1 and form == "table":
            say(str(rows[0]["what"]))
        else:
            print_rows(rows, COLUMNS, form)
        self.report(outcomes, again)

    def report(self, outcomes: Sequence[SiteOutcome[T]], again: str) -> None:
        """Print at how many of several sites a command succeeded; print nothing for a single site.

        Args:
            outcomes: Outcomes of all sites.
            again: Command that a hint suggests for sites where the operation failed or wasn't started.

        Raises:
            FleetError: When the command failed or wasn't started at a site.
            CancelledError: When Ctrl-C stopped the command.
        """
        if len(outcomes) == 1:
            return
        counts = Counter(one.state for one in outcomes)
        summary = ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
        left = [one.site for one in outcomes if one.state != "done"]
        if not left:
            say(f"{summary} of {len(outcomes)} sites")
            return
        error = CancelledError if "stopped" in counts else FleetError
        raise error(f"of {len(outcomes)} sites: {summary}", hint=f"{again} --site {','.join(left)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One of the sites that a command works at.

    Attributes:
        place: The options of the command.
        site: The site.
        is_alone: Whether the command is for this site only.
    """

    place: Place
    site: SiteSettings
    is_alone: bool

    def cluster(self) -> Cluster:
        """Connect to the site's cluster; when the command is for several sites, with a short timeout.

        Raises:
            UnreachableClusterError: When one of several sites doesn't answer.
            EavesError: When the kubeconfig has no such cluster.
        """
        cluster = self.place.open_cluster(self.site)
        if not self.is_alone:
            cluster.version(timeout_s=REACH_S)
        return cluster

    def platform(self) -> KnativePlatform:
        """Connect to the platform in the site's cluster; `cluster` lists the errors."""
        from knative.platform import KnativePlatform

        return KnativePlatform(self.cluster(), self.place.project.knative, self.site, by=name_person())


def name_person() -> str:
    """Return `USER@HOST` of this process, which a cluster records with a deploy so that other people see it."""
    user = os.environ.get("USER") or f"uid-{os.getuid()}"  # a container's user may have a number only
    return "".join(sign for sign in f"{user}@{socket.gethostname()}" if sign.isprintable())[:100]


def describe_stopped() -> str:
    """Return a sentence on a local platform that doesn't run here, and on what uses its port."""
    from eaves.local.settings import LocalSettings
    from eaves.options import build_settings

    port = build_settings(LocalSettings, {}, section="up.").port
    with socket.socket() as client:
        client.settimeout(PROBE_S)
        if not port or client.connect_ex(("127.0.0.1", port)):
            return "`eaves up` is not running here"
    return (
        f"`eaves up` is not running here, but port {port} is in use, perhaps by the `eaves up` of another project: "
        "to see that one, run the command in its folder, or name its state directory with --state; "
        "to run both, start one of them with `eaves up --port PORT`"
    )


def _refuse(message: str, hint: str, *, origin: str = "--site") -> ConfigError:
    return ConfigError.single(origin, "", message, hint=hint)

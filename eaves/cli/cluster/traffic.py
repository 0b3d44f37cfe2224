"""What `eaves rollout`, `promote` and `rollback` share: the same word on this machine, at sites, or in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from eaves.cli.cluster.multi_site import SiteVisit, run_on_sites
from eaves.cli.cluster.platform_options import HERE, SiteScope, load_scope, read_choice
from eaves.cli.display.output import say
from eaves.errors import ConfigError, Fault

Command = TypeVar("Command", bound=Callable[..., Any])


def directory_option(command: Command) -> Command:
    """`--dir`: rendered files instead of a cluster."""
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Folder that `eaves render --gitops` wrote; its file is changed instead of a cluster.",
    )(command)


def unpinned_option(command: Command) -> Command:
    """`--unpinned`: requests for a revision that some node can't start without the registry."""
    return click.option(
        "--unpinned",
        is_flag=True,
        help="In a cluster, don't wait until every node has pulled the container image.",
    )(command)


def change_traffic(
    verb: str, name: str, *, state_dir: Path, file: Path, folder: Path | None, parallel: int,
    max_failures: int | None, percent: int | None = None, unpinned: bool = False, **clusters: Any,
) -> None:  # fmt: skip
    """Do it where it is asked for.

    Args:
        verb: `promote`, `rollback`, `percent` or `resume`.
        name: Of the function; empty: eaves.yaml's.
        state_dir: Of the local platform.
        file: eaves.yaml.
        folder: Of rendered files, in place of a cluster.
        parallel: Number of sites at the same time.
        max_failures: Sites that may fail.
        percent: For `percent`.
        unpinned: For `promote` and `percent` on clusters: don't wait until the container image is on every node.
        clusters: The options of `cluster_options` and `on_option`.

    Raises:
        EavesError: When it can't be done.
    """
    if folder is not None:
        _change_file(verb, folder, percent)
        return
    choice, scope = read_choice(**clusters), load_scope(file)
    function = name_function(name, scope)
    if not choice.knative and verb in ("promote", "rollback"):
        from eaves.local.client import LocalPlatform

        platform = LocalPlatform(state_dir)
        platform.promote(function) if verb == "promote" else platform.rollback(function)
        say(f"{function}: {'it serves what was deployed' if verb == 'promote' else 'it serves what it served before'}")
        return

    def change(visit: SiteVisit) -> str:
        return _change(verb, function, visit, percent=percent, unpinned=unpinned)

    words = f"rollout {function} --percent {percent}" if verb == "percent" else f"{verb} {function}"
    run_on_sites(scope, choice, change, again=f"eaves {words}", parallel=parallel, max_failures=max_failures)


def _change(verb: str, name: str, visit: SiteVisit, *, percent: int | None, unpinned: bool) -> str:
    from knative import rollout
    from knative.deploy.deploy_sequence import describe_deployment, read_hold
    from knative.deploy.site_update import describe_outcome

    if verb == "promote":
        platform = visit.platform()
        platform.promote(name, unpinned=unpinned)
        hold = read_hold(platform.cluster, name, site=visit.site.name)
        told = f"; {describe_deployment(hold.deployment)}" if hold is not None else ""
        return f"{name}: the newest revision has every request{told}"
    cluster = visit.cluster()
    if verb == "rollback":
        # Where sites are named the command may be given again, for those that were down: what is back stays back.
        undo = not (visit.choice.sites or visit.choice.every)
        return describe_outcome(rollout.rollback(cluster, name, undo=undo))
    if verb == "resume":
        return describe_outcome(rollout.begin_rollout(cluster, name, visit.scope.rollout, again=True))
    assert percent is not None  # noqa: S101 - the command's own words
    return describe_outcome(rollout.set_percent(cluster, name, percent, unpinned=unpinned))


def _change_file(verb: str, folder: Path, percent: int | None) -> None:
    from knative.gitops.gitops_files import change_traffic

    if verb == "resume":
        raise click.UsageError("--resume is for clusters: nothing goes on by itself in a file.")
    path = change_traffic(folder, verb, percent)
    click.echo(path)
    say("commit it: the cluster follows the file")


def name_function(name: str, scope: SiteScope) -> str:
    """The function that is meant.

    Raises:
        ConfigError: When nothing names one.
    """
    if name or scope.name:
        return name or scope.name
    fault = Fault(origin="NAME", path="", message="names no function, and there is no eaves.yaml")
    raise ConfigError([fault], hint=f"say its name, or be where eaves.yaml is (site {HERE!r})")

"""Changes of a revision's share of requests, for `eaves rollout`, `promote` and `rollback`.

Each command changes the local platform or the clusters of sites.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eaves.cli.cluster.multi_site import REACH_S, SiteVisit, run_on_sites
from eaves.cli.cluster.platform_options import SiteScope, load_scope, read_choice
from eaves.cli.display.output import say
from eaves.cli.registry_options import build_access
from eaves.errors import ConfigError, Fault, OciError

if TYPE_CHECKING:
    from eaves.oci.registry.registry import Access
    from knative.client.cluster import Cluster
    from knative.rollout import RolloutOutcome

Command = TypeVar("Command", bound=Callable[..., Any])


def unpinned_option(command: Command) -> Command:
    """Add `--unpinned`, which allows requests to a revision whose image isn't on every node, to a command."""
    return click.option(
        "--unpinned",
        is_flag=True,
        help="In a cluster, don't wait until every node has pulled the revision's container image.",
    )(command)


def change_traffic(
    verb: str, name: str, *, state_dir: Path, file: Path, parallel: int, max_failures: int | None,
    percent: int | None = None, unpinned: bool = False, plain_http: bool = False,
    registry_ca: Path | None = None, **clusters: Any,
) -> None:  # fmt: skip
    """Change the traffic of a function on this machine or at the chosen sites.

    Args:
        verb: `promote`, `rollback`, `percent` or `resume`.
        name: Name of the function; empty for the one in eaves.yaml.
        state_dir: State directory of the local platform.
        file: Path of eaves.yaml.
        parallel: Number of sites that are worked on at the same time.
        max_failures: Number of sites that may fail: after one more failure no further site is started. None for no
            limit.
        percent: Share of requests in percent, for the verb `percent`.
        unpinned: Whether `promote` and `percent` don't wait until the container image is on every node of a cluster.
        plain_http: Whether to connect to a registry without TLS, for the verb `rollback`.
        registry_ca: PEM file of certificate authorities for a registry; None for the system's.
        clusters: Values of the options that `cluster_options` and `on_option` add.

    Raises:
        EavesError: When the traffic can't be changed.
    """
    choice, scope = read_choice(**clusters), load_scope(file)
    function = name_function(name, scope)
    if not choice.knative and verb in ("promote", "rollback"):
        _change_here(verb, function, state_dir)
        return

    # The registry is asked once, soon after the requests have moved, so that it can't hold up a rollback.
    access = replace(
        build_access(plain_http=plain_http, registry_ca=registry_ca), attempts=1, connect_s=REACH_S, read_s=REACH_S
    )

    def change(visit: SiteVisit) -> str:
        return _change(verb, function, visit, percent=percent, unpinned=unpinned, access=access)

    words = f"rollout {function} --percent {percent}" if verb == "percent" else f"{verb} {function}"
    run_on_sites(scope, choice, change, again=f"eaves {words}", parallel=parallel, max_failures=max_failures)


def _change_here(verb: str, name: str, state_dir: Path) -> None:
    """Promote or roll back a function on this machine, and print what changed."""
    from eaves.local.client import LocalPlatform
    from eaves.local.state import StateDirectory

    platform, state = LocalPlatform(state_dir), StateDirectory(root=state_dir)
    if verb == "promote":
        platform.promote(name)
        say(f"{name} serves the newest artifact")
        return
    before = state.read_specs()[0].get(name)
    platform.rollback(name)
    after = state.read_specs()[0].get(name)
    if before is None or after is None or before.function.artifact != after.function.artifact:
        say(f"{name} serves the previous artifact")
        return
    say(f"{name} serves the same artifact with its previous settings")


def _change(verb: str, name: str, visit: SiteVisit, *, percent: int | None, unpinned: bool, access: Access) -> str:
    from knative import rollout
    from knative.deploy.inventory import read_deployment

    if verb == "promote":
        platform = visit.platform()
        platform.promote(name, unpinned=unpinned)
        last = read_deployment(platform.cluster, name)
        held = f"; {last.describe()}" if last is not None else ""
        return f"{name}: the newest revision gets every request{held}"
    cluster = visit.cluster()
    if verb == "rollback":
        # With --site or --all the command may be repeated for sites that were down: what is rolled back stays so.
        undo = not (visit.choice.sites or visit.choice.every)
        outcome = rollout.rollback(cluster, name, undo=undo)
        serving = _tag_serving(cluster, outcome, visit.scope.repository, access)
        return "; ".join(filter(None, (visit.finish(cluster, outcome), serving)))
    if verb == "resume":
        return visit.finish(cluster, rollout.begin_rollout(cluster, name, visit.scope.rollout, again=True))
    assert percent is not None  # noqa: S101 - the command's own words
    return visit.finish(cluster, rollout.set_percent(cluster, name, percent, unpinned=unpinned))


def _tag_serving(cluster: Cluster, outcome: RolloutOutcome, repository: str, access: Access) -> str:
    """Tag the container image that serves again, with which the next pipeline's model is compared.

    Args:
        cluster: Connection to the cluster, in the function's namespace.
        outcome: Outcome of the rollback.
        repository: Repository that the pipeline publishes to; empty when there is none.
        access: Access to the registry.

    Returns:
        What to say about it; empty when the container image isn't from a pipeline.
    """
    from eaves.oci.descriptor import parse_reference
    from eaves.oci.image_location import SERVING, name_role, open_location
    from knative.client.kinds import REVISION

    revision = max(outcome.shares, key=outcome.shares.__getitem__, default="")
    found = cluster.get(REVISION, revision) if repository and revision else None
    if found is None:
        return ""
    name = name_role(repository, SERVING)
    try:
        image, role = parse_reference(str(found["spec"]["containers"][0]["image"])), parse_reference(name)
        if (image.host, image.repository) != (role.host, role.repository):
            return ""
        place = open_location(name, access)
        place.tag(place.store.resolve(image.name))
    except OciError as error:
        return f"the next pipeline won't know that {revision} serves, because {name} can't be tagged: {error.message}"
    return f"{name} names its container image, with which the next pipeline's model is compared"


def name_function(name: str, scope: SiteScope) -> str:
    """Return the name of the function that a command is for: the given one, else that in eaves.yaml.

    Raises:
        ConfigError: When no name is given and there is no eaves.yaml.
    """
    if name or scope.name:
        return name or scope.name
    fault = Fault(origin="NAME", path="", message="is required, as there is no eaves.yaml that names the function")
    raise ConfigError([fault], hint="name the function, or run the command in the folder of eaves.yaml")

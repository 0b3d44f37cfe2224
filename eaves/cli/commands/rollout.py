"""The commands `eaves rollout`, `promote` and `rollback`, which show and change a revision's share of requests.

They work on the local platform, or at the sites of clusters.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eaves.artifact.store import HANDLER
from eaves.cli.container_image import access_options
from eaves.cli.output import Column, Columns, Kind, output_option, print_rows, say
from eaves.cli.project import load_workspace
from eaves.cli.site import REACH_S, Place, Visit, place_options
from eaves.errors import ArtifactError, NotFoundError, OciError

if TYPE_CHECKING:
    from converters.evaluation.audit import AuditResult
    from eaves.oci.registry.transport import Access
    from eaves.rollout import RolloutReport
    from knative.client.cluster import Cluster
    from knative.rollout import RolloutOutcome

COLUMNS: Columns = {
    "site": "SITE",
    "revision": "REVISION",
    "percent": "PERCENT",
    "requests": "REQUESTS",
    "errors": "ERRORS",
    "refused": Column("REFUSED", drop=2),
    "mean_ms": Column("LATENCY", Kind.MILLISECONDS, drop=1),
    "phase": "PHASE",
    "reason": Column("REASON", Kind.REASON),
}
NO_LABEL = "no photo of the audit sample is labelled"
_unpinned_option = click.option(
    "--unpinned",
    is_flag=True,
    help="In a cluster, don't wait until every node has pulled the revision's container image.",
)


@click.command()
@click.argument("name", default="")
@click.option(
    "--percent", type=click.IntRange(0, 100), metavar="PERCENT", help="Share of the requests for the newest revision."
)
@click.option("--resume", is_flag=True, help="Let a rollout that is held or was rolled back continue by itself.")
@click.option(
    "--audit",
    is_flag=True,
    help="Judge the model that serves, and the newest revision beside it, by the labelled photos in the folder audit "
    "of data.path.",
)
@place_options("state", "file", "on", "all", "fleet")
@access_options
@_unpinned_option
@output_option
def rollout(
    name: str,
    percent: int | None,
    resume: bool,
    audit: bool,
    unpinned: bool,
    form: str,
    place: Place,
    access: Callable[[], Access],
) -> None:
    """Show the rollout of function NAME, or set the share of its newest revision. NAME defaults to that in eaves.yaml.

    On this machine, `eaves up` counts requests, errors and latency, and advances the rollout that
    `eaves deploy --canary` has begun. In a cluster, `eaves deploy --wait` and `eaves reconcile` do.
    """
    if (percent is not None) + resume + audit > 1:
        raise click.UsageError("--percent, --resume and --audit exclude each other.")
    function = place.name_function(name)
    if not place.is_cluster:
        from eaves.local.client import LocalPlatform

        platform = LocalPlatform(place.state_dir)
        if percent is not None:
            platform.set_percent(function, percent)
        elif resume:
            platform.resume_rollout(function, place.project.rollout)
        elif audit:
            models = platform.list_models(function)
            found = judge_by_audit([one.artifact for one in models], place)
            platform.store_audit(function, models, found.text, found.counts)
            say(f"{function}: {found.text or NO_LABEL}")
    if not place.is_cluster or (percent is None and not resume and not audit):
        _show(place, function, form)
        return

    def change(visit: Visit) -> str:
        from knative import rollout as library
        from knative.deploy.site_update import describe_outcome

        cluster = visit.cluster()
        if audit:
            return _judge_rollout(cluster, function, place, access())
        if percent is None:
            outcome = library.begin_rollout(cluster, function, place.project.rollout, again=True)
        else:
            outcome = library.set_percent(cluster, function, percent, unpinned=unpinned)
        return describe_outcome(outcome, visit.site)

    how = "--audit" if audit else "--resume" if resume else f"--percent {percent}"
    place.run(change, again=f"eaves rollout {function} {how}")


def judge_by_audit(models: Sequence[Path], place: Place) -> AuditResult:
    """Judge the artifact that serves, and compare a new one with it, by the audit sample of the project's images."""
    from converters.evaluation import audit
    from trainer.data.dataset import find_local
    from trainer.progress import SILENT
    from trainer.storage import open_store

    workspace = load_workspace(place.file, needs_data=True)
    folder, _ = find_local(workspace.data, cache=workspace.runs / ".cache", progress=SILENT)
    return audit.judge_by_audit(models, folder, open_store(workspace.runs), progress=SILENT)


def _judge_rollout(cluster: Cluster, function: str, place: Place, access: Access) -> str:
    """Judge both revisions of a rollout in a cluster, by the artifacts in their container images."""
    from converters.publication_check import find_model
    from knative.client.kinds import REVISION
    from knative.rollout import store_audit
    from knative.rollout.service import read_service
    from knative.status.traffic import parse_rollout_status

    state = parse_rollout_status(read_service(cluster, function)).current
    if state is None or not state.old:
        raise NotFoundError(f"{function} has no rollout with two revisions", hint="deploy another revision")
    with contextlib.ExitStack() as stack:
        paths = []
        for name in (state.old, state.new):
            revision = cluster.get(REVISION, name)
            image = str(revision["spec"]["containers"][0]["image"]) if revision else ""
            found = find_model(image, access) if image else None
            if found is None:
                raise NotFoundError(f"the artifact of {name} can't be found in its container image {image or '(gone)'}")
            artifact = stack.enter_context(found.artifact(place.workspace.runs / ".cache" / "published"))
            if HANDLER in artifact.manifest.files:  # who pushes to the registry would run code on this machine
                raise ArtifactError(f"{image} has a {HANDLER}, which is not run here, so {name} can't be judged")
            paths.append(artifact.path)
        result = judge_by_audit(paths, place)
    store_audit(cluster, function, state, result.counts)
    return "; ".join(filter(None, (f"{state.old}: {result.text or NO_LABEL}", result.counts.text)))


@click.command()
@click.argument("name", default="")
@place_options("state", "file", "on", "all", "fleet")
@_unpinned_option
def promote(name: str, place: Place, unpinned: bool) -> None:
    """Send every request to the newest revision of function NAME once it is ready. NAME defaults to that in eaves.yaml.

    In a cluster, a revision is ready when every node that it may run on has its container image, too.

    On this machine, that is the artifact of `eaves deploy --canary`; without it, the newest one has every request.
    """
    function = place.name_function(name)
    if not place.is_cluster:
        place.open_platform().promote(function)
        say(f"{function} serves the newest artifact")
        return

    def change(visit: Visit) -> str:
        from knative.inventory import read_deployment

        platform = visit.platform()
        platform.promote(function, unpinned=unpinned)
        last = read_deployment(platform.cluster, function)
        held = f"; {last.describe()}" if last is not None else ""
        return f"{function}: the newest revision gets every request{held}"

    place.run(change, again=f"eaves promote {function}")


@click.command()
@click.argument("name", default="")
@place_options("state", "file", "on", "all", "fleet")
@access_options
def rollback(name: str, place: Place, access: Callable[[], Access]) -> None:
    """Send every request to the previous revision of function NAME. NAME defaults to that in eaves.yaml.

    The command moves the requests immediately, whatever the state of the new revision.
    Images that it refused stay dead letters; the command prints how to send them again. A second rollback undoes the
    first one. With --site or --all it does not: a site that is rolled back stays so, and the command can be repeated
    for sites that were down. The container image that serves again gets the tag `serving` in the repository of
    `job.repository`, so that the next pipeline's model is compared with it.
    """
    function = place.name_function(name)
    if not place.is_cluster:
        from eaves.local.state import StateDirectory

        place.open_platform().rollback(function)
        agent = f"--agent {function} " if StateDirectory(root=place.state_dir).list_sources(function) else ""
        say(
            f"{function} is as it was before its last deploy; what was refused since: eaves queue retry --dead "
            f"{agent}--state {shlex.quote(str(place.state_dir))}"
        )
        return
    # The registry is asked once, soon after the requests have moved, so that it can't hold up a rollback.
    hurried = replace(access(), attempts=1, connect_s=REACH_S, read_s=REACH_S)

    def change(visit: Visit) -> str:
        from knative import rollout as library
        from knative.deploy.site_update import describe_outcome

        cluster = visit.cluster()
        # With --site or --all the command may be repeated for sites that were down: what is rolled back stays so.
        outcome = library.rollback(cluster, function, undo=not (place.sites or place.every))
        serving = _tag_serving(cluster, outcome, place.project.job.repository, hurried)
        return "; ".join(filter(None, (describe_outcome(outcome, visit.site), serving)))

    place.run(change, again=f"eaves rollback {function}")


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
    from eaves.oci.copy import SERVING, name_role, open_location
    from eaves.oci.descriptor import parse_reference
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


def _show(place: Place, function: str, form: str) -> None:
    """Print the state of a function's rollout on this machine, or at each chosen site."""
    here = {key: column for key, column in COLUMNS.items() if key != "site"}
    if not place.is_cluster:
        from eaves.local.client import LocalPlatform

        print_rows(_rows(LocalPlatform(place.state_dir).find_rollout(function)), here, form)
        return

    def read_rows(visit: Visit) -> list[dict[str, Any]]:
        from knative.rollout.service import read_service
        from knative.status.traffic import parse_rollout_status

        return _rows(parse_rollout_status(read_service(visit.cluster(), function)).report())

    outcomes = place.visit(read_rows)
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        if outcome.error is not None:
            rows.append({"site": outcome.site, "phase": outcome.state, "reason": str(outcome.error)})
        rows += [{"site": outcome.site, **row} for row in outcome.result or ()]
    print_rows(rows, COLUMNS if len(outcomes) > 1 else here, form)
    place.report(outcomes, f"eaves rollout {function}")


def _rows(report: RolloutReport) -> list[dict[str, Any]]:
    """Return a row for the newest revision, with the rollout's state, then one for each other revision."""
    rows = [{key: one for key, one in asdict(revision).items() if one is not None} for revision in report.revisions]
    rows[0] |= {"phase": report.phase, "reason": report.reason}
    return rows

"""What `reconcile` decides at a site, from what the cluster recorded and what a workspace remembers."""

from dataclasses import replace

import pytest

from knative.deploy.site_update import ReconcileDecision, WantedDeployment, decide_reconcile
from knative.inventory import DeploymentRecord, FunctionImage, WorkspaceMemory

OLD = FunctionImage(name="r/f@sha256:1")
NEW = FunctionImage(name="r/f@sha256:2")
THEIRS = FunctionImage(name="r/f@sha256:3")
LAST = DeploymentRecord(
    sequence=7, at=1_800_000_000, by="jane@laptop", site="barn", image=THEIRS.name, artifact="", declared=""
)
BEFORE = replace(LAST, sequence=6, at=1_700_000_000).mark
KEPT, BROUGHT, NOTHING = (THEIRS.name, False), (NEW.name, True), (None, False)


def done(decision: ReconcileDecision) -> tuple[str | None, bool]:
    """What is applied, and whether it is what this workspace wants."""
    return (decision.image.name if decision.image else None), decision.is_new


def test_a_pending_deploy_is_brought_while_nobody_else_deployed():
    decision = decide_reconcile(
        LAST, "", WantedDeployment(site="barn", image=NEW, memory=WorkspaceMemory(known=LAST.mark, pending=NEW))
    )
    assert done(decision) == BROUGHT


@pytest.mark.parametrize(
    "known",
    ["", BEFORE, replace(LAST, at=LAST.at - 1).mark],
    ids=["never there", "older", "the same number after a removal"],
)
def test_a_pending_deploy_is_kept_back_once_somebody_else_deployed(known: str):
    decision = decide_reconcile(
        LAST, "", WantedDeployment(site="barn", image=NEW, memory=WorkspaceMemory(known=known, pending=NEW))
    )
    assert done(decision) == KEPT
    assert decision.reason == (
        f"jane@laptop deployed {THEIRS.name} at 2027-01-15 08:00:00 UTC (the site's clock); that deployment is "
        f"kept, because {NEW.name} in this workspace may be older (try: eaves deploy {NEW.name} --site barn)"
    )


@pytest.mark.parametrize(
    ("declared", "known", "outcome", "agreed"),
    [
        ("", LAST.mark, KEPT, True),
        ("r/f@sha256:2", LAST.mark, BROUGHT, True),
        ("r/f@sha256:2", BEFORE, KEPT, False),
        ("r/f@sha256:9", LAST.mark, KEPT, True),
    ],
    ids=["eaves.yaml names none", "changed since", "changed, and deployed elsewhere", "the same as at that deploy"],
)
def test_what_eaves_yaml_names_counts_when_it_changed_since_the_last_deploy(
    declared: str, known: str, outcome: tuple[str | None, bool], agreed: bool
):
    last = replace(LAST, declared="r/f@sha256:9")
    decision = decide_reconcile(
        last, "", WantedDeployment(site="barn", image=NEW, declared=declared, memory=WorkspaceMemory(known=known))
    )
    assert (done(decision), not decision.reason) == (outcome, agreed)


def test_a_pending_deploy_is_forgotten_once_eaves_yaml_names_another_container_image():
    memory = WorkspaceMemory(known=LAST.mark, pending=OLD, pending_declared="r/f@sha256:1")
    assert (
        decide_reconcile(
            LAST, "", WantedDeployment(site="barn", image=NEW, declared="r/f@sha256:2", memory=memory)
        ).image
        == NEW
    )


@pytest.mark.parametrize(
    ("serving", "memory", "outcome", "reason"),
    [
        ("", WorkspaceMemory(), BROUGHT, ""),
        ("", WorkspaceMemory(known=BEFORE, pending=NEW), NOTHING, "the function was removed"),
        (NEW.name, WorkspaceMemory(known=BEFORE), BROUGHT, ""),
        (OLD.name, WorkspaceMemory(), NOTHING, f"nobody recorded who deployed {OLD.name}"),
        (OLD.name, WorkspaceMemory(pending=NEW), BROUGHT, ""),
    ],
    ids=["a new site", "removed since", "it is there", "no record", "no record, then a deploy it missed"],
)
def test_a_cluster_without_a_record(
    serving: str, memory: WorkspaceMemory, outcome: tuple[str | None, bool], reason: str
):
    decision = decide_reconcile(None, serving, WantedDeployment(site="barn", image=NEW, memory=memory))
    assert done(decision) == outcome
    assert decision.reason.startswith(reason)
    assert ("(try: eaves deploy r/f@sha256:2 --site barn)" in decision.reason) == (outcome == NOTHING)


def test_nothing_to_bring_and_nothing_there():
    decision = decide_reconcile(None, "", WantedDeployment(site="barn", image=None))
    assert done(decision) == NOTHING
    assert "this workspace has deployed nothing to this site" in decision.reason


def test_a_removal_that_was_begun_is_not_undone():
    decision = decide_reconcile(
        replace(LAST, image=""),
        "",
        WantedDeployment(site="barn", image=NEW, memory=WorkspaceMemory(known=LAST.mark, pending=NEW)),
    )
    assert done(decision) == NOTHING
    assert decision.reason.startswith("jane@laptop started to remove the function at 2027-01-15 08:00:00 UTC")

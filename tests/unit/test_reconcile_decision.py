"""What `reconcile` decides at a site, from what the cluster recorded and what a workspace remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from knative.deploy.decision import Memory, Verb, Wish, decide, decide_differing
from knative.deploy.intent import Mark, format_time, mark_of
from knative.deploy.inventory import Deployment
from knative.packaged import FunctionImage

OLD = FunctionImage(name="r/f@sha256:1")
NEW = FunctionImage(name="r/f@sha256:2")
THEIRS = FunctionImage(name="r/f@sha256:3")
LAST = Deployment(
    sequence=7, at=1_800_000_000, by="jane@laptop", image=THEIRS.name, artifact="", declared="", settings="{}"
)
BEFORE = Mark(sequence=6, at=1_700_000_000)


def test_without_a_wish_of_its_own_a_workspace_wants_what_the_cluster_wants() -> None:
    for known in (None, BEFORE, mark_of(LAST)):
        decision = decide(LAST, "", Wish(site="barn", image=OLD, memory=Memory(known=known)))
        assert (decision.verb, decision.reason, decision.agreed) == (Verb.KEEP, "", True)


def test_a_pending_deploy_is_brought_while_nobody_else_deployed() -> None:
    decision = decide(LAST, "", Wish(site="barn", image=NEW, memory=Memory(known=mark_of(LAST), pending=NEW)))
    assert (decision.verb, decision.image) == (Verb.BRING, NEW)


@pytest.mark.parametrize(
    "known",
    [None, BEFORE, Mark(sequence=7, at=LAST.at - 1), Mark(sequence=8, at=LAST.at)],
    ids=["never there", "older", "the same number after a removal", "a number that was lost"],
)
def test_a_pending_deploy_is_kept_back_once_somebody_else_deployed(known: Mark | None) -> None:
    decision = decide(LAST, "", Wish(site="barn", image=NEW, memory=Memory(known=known, pending=NEW)))
    assert (decision.verb, decision.agreed) == (Verb.KEEP, False)
    assert decision.reason == (
        f"jane@laptop deployed {THEIRS.name} at 2027-01-15 08:00:00 UTC by the site's clock; it stays, as this "
        f"workspace's {NEW.name} may be older (try: eaves deploy {NEW.name} --site barn)"
    )


def test_a_pending_deploy_of_what_is_there_is_done() -> None:
    decision = decide(LAST, "", Wish(site="barn", image=THEIRS, memory=Memory(known=BEFORE, pending=THEIRS)))
    assert (decision.verb, decision.agreed) == (Verb.KEEP, True)


@pytest.mark.parametrize(
    ("declared", "known", "verb", "agreed"),
    [
        ("", mark_of(LAST), Verb.KEEP, True),
        ("r/f@sha256:2", mark_of(LAST), Verb.BRING, True),
        ("r/f@sha256:2", BEFORE, Verb.KEEP, False),
        ("r/f@sha256:9", mark_of(LAST), Verb.KEEP, True),
    ],
    ids=["eaves.yaml names none", "changed since", "changed, and deployed elsewhere", "the same as at that deploy"],
)
def test_what_eaves_yaml_names_counts_when_it_changed_since_the_last_deploy(
    declared: str, known: Mark, verb: Verb, agreed: bool
) -> None:
    last = replace(LAST, declared="r/f@sha256:9")
    decision = decide(last, "", Wish(site="barn", image=NEW, declared=declared, memory=Memory(known=known)))
    assert (decision.verb, decision.agreed) == (verb, agreed)


def test_a_pending_deploy_is_forgotten_once_eaves_yaml_names_another_container_image() -> None:
    memory = Memory(known=mark_of(LAST), pending=OLD, pending_declared="r/f@sha256:1")
    assert decide(LAST, "", Wish(site="barn", image=NEW, declared="r/f@sha256:2", memory=memory)).image == NEW


@pytest.mark.parametrize(
    ("serving", "memory", "verb", "reason"),
    [
        ("", Memory(), Verb.BRING, ""),
        ("", Memory(known=BEFORE, pending=NEW), Verb.LEAVE, "the function was removed"),
        (NEW.name, Memory(known=BEFORE), Verb.BRING, ""),
        (OLD.name, Memory(), Verb.LEAVE, f"{OLD.name} was deployed by an older version of Eaves"),
        (OLD.name, Memory(pending=NEW), Verb.BRING, ""),
    ],
    ids=["a new site", "removed since", "it is there", "an older Eaves", "an older Eaves, then a deploy it missed"],
)
def test_a_cluster_without_a_record(serving: str, memory: Memory, verb: Verb, reason: str) -> None:
    decision = decide(None, serving, Wish(site="barn", image=NEW, memory=memory))
    assert decision.verb is verb
    assert decision.reason.startswith(reason)
    assert ("(try: eaves deploy r/f@sha256:2 --site barn)" in decision.reason) == (verb is Verb.LEAVE)


def test_nothing_to_bring_and_nothing_there() -> None:
    decision = decide(None, "", Wish(site="barn", image=None))
    assert decision.verb is Verb.LEAVE
    assert "nothing was deployed here from this workspace" in decision.reason


def test_a_removal_that_was_begun_is_not_undone() -> None:
    decision = decide(
        replace(LAST, image=""), "", Wish(site="barn", image=NEW, memory=Memory(known=mark_of(LAST), pending=NEW))
    )
    assert decision.verb is Verb.LEAVE
    assert decision.reason.startswith("jane@laptop began to remove the function at 2027-01-15 08:00:00 UTC")


def test_another_eaves_yaml_is_applied_only_from_where_the_last_deploy_is_known() -> None:
    assert (
        decide_differing(LAST, THEIRS, Wish(site="barn", image=OLD, memory=Memory(known=mark_of(LAST)))).image == THEIRS
    )
    decision = decide_differing(LAST, THEIRS, Wish(site="barn", image=OLD, memory=Memory(known=BEFORE)))
    assert (decision.verb, decision.agreed) == (Verb.LEAVE, False)
    assert "with another eaves.yaml or version of Eaves than here" in decision.reason


def test_a_time_that_no_calendar_has_is_still_told() -> None:
    assert format_time(1e18) == "1000000000000000000 s after 1970"
    assert format_time(0) == "1970-01-01 00:00:00 UTC"

"""What serves a function, and what may be changed about it."""

from __future__ import annotations

from dataclasses import replace

from eaves.console.model.functions import build_key, build_revisions
from eaves.platform import FunctionStatus
from eaves.platform.status import DeployedStatus, ServedStatus

OLD, NEW = "ab" * 32, "cd" * 32
IMAGE = "registry.example/flowers@sha256:"
DEPLOYED = DeployedStatus(sequence=2, at=0.0, age_s=5.0, by="ana@line2", image=IMAGE + NEW, artifact_digest=NEW)
LOCAL = FunctionStatus(name="flowers", state="ready", artifact="/artifacts/flowers-3", artifact_digest=NEW)


def at_a_site(*served: tuple[str, int, str], deployed: DeployedStatus = DEPLOYED) -> FunctionStatus:
    serving = tuple(
        ServedStatus(revision=name, percent=part, image=IMAGE + digest if digest else "", artifact_digest=digest)
        for name, part, digest in served
    )
    return FunctionStatus(name="flowers", state="ready", serving=serving, deployed=deployed)


def test_a_new_revision_without_requests_can_be_promoted() -> None:
    assert build_revisions(at_a_site(("f-1", 100, OLD)), ()).can_promote
    assert not build_revisions(at_a_site(("f-2", 100, NEW)), ()).can_promote
    assert not build_revisions(at_a_site(("f-1", 100, "")), ()).can_promote, "its container image isn't known"


def test_the_first_deployment_at_a_site_can_not_be_rolled_back() -> None:
    first = at_a_site(("f-1", 100, NEW), deployed=replace(DEPLOYED, sequence=1))
    assert not build_revisions(first, ()).can_roll_back
    assert build_revisions(at_a_site(("f-2", 100, NEW)), ()).can_roll_back


def test_the_key_changes_with_what_serves_but_not_with_the_shares() -> None:
    seen = at_a_site(("f-1", 90, OLD), ("f-2", 10, NEW))
    assert build_key(seen) == build_key(at_a_site(("f-2", 50, NEW), ("f-1", 50, OLD)))
    assert build_key(seen) != build_key(at_a_site(("f-2", 100, NEW)))
    assert build_key(seen) != build_key(replace(seen, deployed=replace(DEPLOYED, sequence=3)))
    assert build_key(LOCAL) != build_key(replace(LOCAL, artifact="/artifacts/flowers-4"))

"""What serves a function: revisions with their shares, and what a person may change about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from eaves.console.backend import ModelLocation
from eaves.platform import FunctionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionShare:
    """A revision that gets requests.

    Attributes:
        revision: Name of the revision.
        percent: Share of the requests, percent.
        image: Its container image with the beginning of its digest; empty when it isn't known.
        artifact_digest: Beginning of its artifact's digest; empty when it isn't known.
        is_newest: Whether it serves the container image of the latest deployment, as far as that is known.
    """

    revision: str
    percent: int
    image: str
    artifact_digest: str
    is_newest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """What serves a function.

    Attributes:
        shares: Revisions that get requests, largest share first; empty on one machine, where one artifact serves.
        artifact: Directory or address of what serves.
        artifact_digest: Beginning of the artifact's digest; empty when it isn't known.
        can_promote: Whether there is a newer revision that doesn't get every request.
        can_roll_back: Whether there is a deployment to return to, as far as that is known.
        seen: Key of what the page shows; a change is refused when it is different by then.
    """

    shares: tuple[RevisionShare, ...]
    artifact: str
    artifact_digest: str
    can_promote: bool
    can_roll_back: bool
    seen: str


def build_revisions(status: FunctionStatus, models: Iterable[ModelLocation]) -> Revisions:
    """Build the view of what serves a function.

    Args:
        status: Status of the function.
        models: Artifacts of the platform, of which one may be that of the function's previous deployment.
    """
    newest = status.deployed.image if status.deployed else ""  # one artifact may be in several container images
    serving = sorted(status.serving, key=lambda one: -one.percent)
    images = {one.image for one in serving}
    is_waiting = bool(newest and "" not in images and newest not in images)
    return Revisions(
        shares=tuple(
            RevisionShare(
                revision=one.revision,
                percent=one.percent,
                image=_shorten(one.image),
                artifact_digest=one.artifact_digest[:8],
                is_newest=bool(newest) and one.image == newest,
            )
            for one in serving
        ),
        artifact=status.artifact,
        artifact_digest=status.artifact_digest[:8],
        can_promote=bool(serving) and (len(serving) > 1 or is_waiting),
        can_roll_back=_can_roll_back(status, models),
        seen=build_key(status),
    )


def build_key(status: FunctionStatus) -> str:
    """Return a key that is different when other revisions serve, or when something else was deployed.

    Shares are not part of it, since a rollout changes them by itself.
    """
    deployed = str(status.deployed.sequence) if status.deployed else ""
    parts = [status.artifact, status.artifact_digest, deployed, *sorted(one.revision for one in status.serving)]
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16]


def _can_roll_back(status: FunctionStatus, models: Iterable[ModelLocation]) -> bool:
    if status.serving or status.deployed:
        return len(status.serving) > 1 or status.deployed is None or status.deployed.sequence > 1
    return any(status.name in one.previous_of for one in models)


def _shorten(image: str) -> str:
    name, at, digest = image.partition("@sha256:")
    return f"{name}{at}{digest[:8]}"

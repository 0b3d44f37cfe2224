"""Rollouts on this machine: the file of each, and the commands that change it.

`rollouts/NAME.json` in the state directory has an app as it was before and as its new artifact makes it, and the state
of `eaves.rollout`. A revision is named by the digest of its artifact. The spec file has the app before until the new
revision gets every request, so without a rollout's file, or with one that is damaged or about other apps, the spec
file's app serves every request.

The rollout's file is written first, then the spec file, and then shares change: after a kill at any line, the next
reader of both files completes what was begun. A process that changes a rollout locks the folder `rollouts`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eaves.base.files import make_directory, remove_durably, write_atomically
from eaves.base.locks import locked
from eaves.errors import EavesError, NotFoundError, PlatformError
from eaves.local.state import LocalApp, LocalFunction, StateDirectory, parse_app
from eaves.rollout import AuditCounts, RolloutPhase, RolloutSettings, RolloutState, RolloutStatus
from eaves.rollout.plan import Plan
from eaves.rollout.state import parse_state, render_state

REVISION_CHARACTERS = 12
"""Number of characters of an artifact's digest that name its revision."""

_log = logging.getLogger(__name__)


def revision_of(app: LocalApp) -> str:
    """Return the name of an app's revision."""
    return app.function.artifact_digest[:REVISION_CHARACTERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRollout:
    """The rollout of an app's new artifact.

    Attributes:
        before: The app that served every request when the rollout began.
        after: The app with the new artifact.
        state: State of the rollout.
    """

    before: LocalApp
    after: LocalApp
    state: RolloutState

    @property
    def serving(self) -> LocalApp:
        """The app that the spec file must have."""
        return self.after if self.state.phase is RolloutPhase.DONE else self.before

    @property
    def candidate(self) -> LocalFunction | None:
        """The function that must run besides the spec file's: the new one while it has a share or waits for one."""
        phase = self.state.phase
        runs = phase is RolloutPhase.ADVANCING or (phase is RolloutPhase.HELD and self.state.percent)
        return self.after.function if runs else None

    @property
    def standing(self) -> RolloutStatus:
        """The rollout as plans and reports need it."""
        name, traffic = self.after.function.name, self.state.traffic
        return RolloutStatus(name=name, newest=self.state.new, traffic=traffic, shares=traffic, state=self.state)

    def follow(self, plan: Plan | None) -> LocalRollout:
        """Return the rollout after a plan of a user; None changes nothing.

        Raises:
            NotFoundError: When an artifact that the plan needs is gone.
        """
        if plan is None:
            return self
        for app in (self.before, self.after):
            if revision_of(app) in plan.needs and not app.function.artifact.is_dir():
                raise NotFoundError(f"the artifact {app.function.artifact} no longer exists", hint="eaves deploy")
        return replace(self, state=plan.state)


def begin_rollout(before: LocalApp, after: LocalApp, settings: RolloutSettings, now: float) -> LocalRollout:
    """Return the rollout of an app with a new artifact, which gets its first share once it can start.

    Args:
        before: App of the spec file.
        after: The app with the new artifact.
        settings: Settings of the rollout.
        now: Unix time in seconds.

    Raises:
        PlatformError: When both apps have the same artifact.
    """
    old, new = revision_of(before), revision_of(after)
    if old == new:
        message = f"{before.function.name} serves every request with the artifact {new} already"
        raise PlatformError(message, hint="deploy without --canary to change settings, or name another artifact")
    phase, shares = RolloutPhase.ADVANCING, {old: 100}
    state = RolloutState(old=old, new=new, phase=phase, traffic=shares, since=now, settings=settings)
    return LocalRollout(before=before, after=after, state=state)


Propose = Callable[[LocalApp | None, LocalRollout | None], LocalRollout | None]
"""Function that gets the app of a spec file (None: it is missing or can't be read) and the app's rollout, and returns
the next rollout; None: there is none."""


def change_rollout(state: StateDirectory, name: str, propose: Propose) -> LocalRollout | None:
    """Replace the rollout of an app by what `propose` makes of it, and complete the spec file; one process at a time.

    Returns:
        The rollout afterwards.

    Raises:
        EavesError: When `propose` raises it; nothing is changed then.
        OSError: When a file can't be written.
    """
    state.prepare()
    with locked(state.rollouts, folder=True):
        spec = state.read_specs()[0].get(name)
        found = None if spec is None else read_rollout(state, spec)
        wanted = propose(spec, found)
        if wanted is None:
            remove_durably(_path(state, name))
        elif wanted != found:
            write_atomically(_path(state, name), _render(wanted))
        if wanted is not None and spec != wanted.serving:
            state.write_spec(wanted.serving)
        return wanted


def read_rollout(state: StateDirectory, spec: LocalApp) -> LocalRollout | None:
    """Return the rollout of an app; None when there is none that can be read, or only one about other apps."""
    name = spec.function.name
    path = _path(state, name)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        before, after = (parse_app(values[name], origin=path.name) for name in ("before", "after"))
        found = LocalRollout(before=before, after=after, state=parse_state(json.dumps(values["state"])))
    except FileNotFoundError:
        return None
    except (EavesError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("function %s: no rollout, as %s can't be read: %s", name, path, error)
        return None
    return found if spec in (before, after) else None


def load_rollouts(state: StateDirectory, specs: dict[str, LocalApp]) -> dict[str, LocalRollout]:
    """Return the rollouts of deployed apps by name, and complete specs whose change was interrupted.

    Args:
        state: State directory.
        specs: Specs by name; those that are completed are replaced.
    """
    found = {}
    for name, spec in specs.items():
        rollout = read_rollout(state, spec)
        if rollout is not None and rollout.serving != spec:
            rollout = change_rollout(state, name, lambda _, present: present)
        if rollout is not None:
            found[name], specs[name] = rollout, rollout.serving
    return found


def store_audit(
    state: StateDirectory, name: str, models: Sequence[LocalFunction], text: str, counts: AuditCounts
) -> None:
    """Store what the audit sample says of the model that serves and, in its rollout, of a canary.

    Args:
        state: State directory.
        name: Name of the app.
        models: The function that was judged, and the canary's if there is one; a rollout of others stays unchanged.
        text: What people read about the model that serves.
        counts: Comparison of the two.
    """
    make_directory(state.audits)
    known = {"artifact": models[0].artifact_digest, "text": text}
    write_atomically(state.audits / f"{name}.json", json.dumps(known))

    def propose(_: LocalApp | None, found: LocalRollout | None) -> LocalRollout | None:
        if found is None or [found.before.function, found.candidate] != list(models):
            return found
        return replace(found, state=replace(found.state, audit=counts))

    change_rollout(state, name, propose)


def read_audit(state: StateDirectory, app: LocalApp) -> str:
    """Return what the audit sample says of an app's model; empty when it was not asked about this one."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        known = json.loads((state.audits / f"{app.function.name}.json").read_bytes())
        if known["artifact"] == app.function.artifact_digest:
            return str(known["text"])
    return ""


def is_unsaved(stored: RolloutState, state: RolloutState) -> bool:
    """Return whether a state must be stored: another phase, share or step, or a time window that was closed."""
    facts = [(one.phase, one.traffic, one.since, one.observed, one.counts.windows.since) for one in (stored, state)]
    return facts[0] != facts[1]


def _path(state: StateDirectory, name: str) -> Path:
    return state.rollouts / f"{name}.json"


def _render(rollout: LocalRollout) -> str:
    values = {
        "before": rollout.before.to_dict(),
        "after": rollout.after.to_dict(),
        "state": json.loads(render_state(rollout.state)),
    }
    return json.dumps(values, indent=2)

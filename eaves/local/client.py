"""Client of the local platform for commands: spec files in the state directory, and queries over its Unix socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from eaves import events
from eaves.admin.client import ask_socket
from eaves.admin.report import QueueReport, build_report, from_json
from eaves.base.clock import SYSTEM
from eaves.base.names import NAME_PATTERN
from eaves.delivery import SinkResponse, read_reply
from eaves.errors import EavesError, NotFoundError, NotRunningError, PlatformError, SpoolFullError, StartError
from eaves.events import Event
from eaves.http_client.client import HttpAnswer
from eaves.local.processes.logs import tail
from eaves.local.queues import find_lanes
from eaves.local.rollouts import (
    LocalRollout,
    begin_rollout,
    change_rollout,
    load_rollouts,
    read_audit,
    store_audit,
)
from eaves.local.state import AGENT, LocalApp, LocalFunction, StateDirectory
from eaves.platform import FunctionStatus
from eaves.problem_document import parse_problem
from eaves.rollout import AuditCounts, RolloutReport, RolloutSettings, RolloutStatus
from eaves.rollout.plan import Plan, plan_begin, plan_percent, plan_rollback
from eaves.spool import Spool

QUERY_TIMEOUT_S = 10.0
RECONCILE_TIMEOUT_S = 120.0


class LocalPlatform:
    """Implementation of `eaves.platform.Platform` on one state directory."""

    def __init__(self, root: Path) -> None:
        self._state = StateDirectory(root=root)

    def deploy(self, app: LocalApp, *, canary: RolloutSettings | None = None) -> None:
        """Deploy an app; a running supervisor has started it when this method returns. A rollout of the app ends.

        Args:
            app: The app.
            canary: Settings of a rollout: the present app serves on, and this one gets shares of the requests until the
                rollout has ended. None: this one gets every request at once, as does a first deployment.

        Raises:
            PlatformError: When the app with this artifact is to be a canary of itself.
            StartError: When a running supervisor can't start it; the app stays deployed, and is tried again.
        """
        name = app.function.name

        def begin(before: LocalApp | None, _: LocalRollout | None) -> LocalRollout | None:
            return begin_rollout(before, app, canary, SYSTEM.now()) if before and canary else None

        if change_rollout(self._state, name, begin) is None:
            self._state.write_spec(app)
        self.reconcile(name, "deployed")

    def remove(self, name: str) -> None:
        """Remove an app; a running supervisor has stopped it when this method returns.

        Raises:
            NotFoundError: When the app isn't deployed.
            StartError: When a running supervisor can't read the specs.
        """
        self._state.require(name)
        change_rollout(self._state, name, lambda *_: None)
        self._state.remove_spec(name)
        self.reconcile(name, "removed")

    def promote(self, name: str) -> None:
        """Give a canary every request; does nothing without one, as `deploy` did so already.

        Raises:
            NotFoundError: When the app isn't deployed, or the canary's artifact is gone.
        """
        self._follow(name, "promoted", partial(plan_percent, percent=100), otherwise=lambda: None)

    def set_percent(self, name: str, percent: int) -> None:
        """Give a canary this share of the requests in percent; its rollout advances no more by itself.

        Raises:
            NotFoundError: When the app isn't deployed or has no canary, or an artifact is gone.
        """
        self._follow(name, "changed", partial(plan_percent, percent=percent), otherwise=partial(_refuse, name))

    def resume_rollout(self, name: str, settings: RolloutSettings) -> None:
        """Let a rollout that is held or was rolled back continue by itself.

        Raises:
            NotFoundError: When the app isn't deployed or has no canary.
        """
        plan = partial(plan_begin, settings=settings, again=True)
        self._follow(name, "changed", plan, otherwise=partial(_refuse, name))

    def rollback(self, name: str) -> None:
        """Restore an app's previous deployment; a running supervisor has started it when this method returns.

        A canary loses its share, and a second rollback doesn't give it back unless the canary had every request.

        Raises:
            NotFoundError: When the app isn't deployed, or has no previous deployment.
            StartError: When a running supervisor can't start it; the app stays deployed, and is tried again.
        """
        self._follow(name, "rolled back", plan_rollback, otherwise=lambda: self._state.roll_back(name))

    def _follow(self, name: str, done: str, plan: Callable[..., Plan | None], *, otherwise: Callable[[], None]) -> None:
        """Carry out a plan of a user for an app's rollout; without a rollout, do something else.

        Args:
            name: Name of the app.
            done: What happens to the app, for a message.
            plan: Function that makes the plan from the rollout's status and the time (`now`).
            otherwise: What is done without a rollout.
        """

        def propose(_: LocalApp | None, found: LocalRollout | None) -> LocalRollout | None:
            if found is None:
                otherwise()
                return None
            return found.follow(plan(found.standing, now=SYSTEM.now()))

        self._state.require(name)
        change_rollout(self._state, name, propose)
        self.reconcile(name, done)

    def list_models(self, name: str) -> list[LocalFunction]:
        """Return the function that serves an app, and that of its canary, with their artifacts.

        Raises:
            NotFoundError: When the app isn't deployed.
        """
        self._state.require(name)
        app = self._state.read_spec(name)
        rollout = load_rollouts(self._state, {name: app}).get(name)
        return [app.function, *filter(None, [rollout.candidate if rollout else None])]

    def store_audit(self, name: str, models: Sequence[LocalFunction], text: str, counts: AuditCounts) -> None:
        """Store what the audit sample says of models of `list_models`; a running supervisor judges the canary by it."""
        store_audit(self._state, name, models, text, counts)

    def find_rollout(self, name: str) -> RolloutReport:
        """Return the rollout of an app, with the requests that were counted until now.

        Raises:
            NotFoundError: When the app isn't deployed.
        """
        self._state.require(name)
        found = {one.name: one.rollout for one in self.status()}.get(name)
        return found or RolloutStatus(name=name, newest=name, traffic={name: 100}, shares={name: 100}).report()

    def status(self) -> list[FunctionStatus]:
        """Return every deployed function, by name; all are `stopped` when no supervisor runs."""
        try:
            answer = self._request("GET", "/status")
        except NotRunningError:
            return self._describe_stopped()
        return [from_json(FunctionStatus, values) for values in json.loads(answer.body)]

    def _describe_stopped(self) -> list[FunctionStatus]:
        """Return the status of every deployed function while no supervisor runs; the queue is read from its file."""
        apps, faults = self._state.read_specs()
        rollouts = load_rollouts(self._state, apps)
        report, reason = QueueReport(), ""
        if apps and self._state.spool.is_file():
            try:
                with Spool(self._state.spool) as spool:
                    report = build_report(spool)
            except EavesError as error:
                reason = f"the queue can't be read: {error.message}"
        stopped = []
        for name, app in apps.items():
            lanes, sinks = find_lanes(report, name)
            rollout = rollouts.get(name)
            stopped.append(
                FunctionStatus(
                    name=name,
                    state="stopped",
                    reason=reason,
                    artifact=str(app.function.artifact),
                    artifact_digest=app.function.artifact_digest,
                    audit=read_audit(self._state, app),
                    lanes=lanes,
                    sinks=sinks,
                    rollout=rollout.standing.report() if rollout else None,
                )
            )
        return stopped + [FunctionStatus(name=name, state="failed", reason=why) for name, why in faults.items()]

    def running(self) -> bool:
        """Return whether a supervisor responds."""
        try:
            self._request("GET", "/status")
        except NotRunningError:
            return False
        return True

    def invoke(self, name: str, event: Event, *, timeout_s: float = 120.0) -> SinkResponse:
        """Send one event straight to a function.

        Raises:
            NotRunningError: When no supervisor runs.
            NotFoundError: When the supervisor runs no function with this name.
        """
        headers, body = events.encode_binary(event)
        headers["Prefer"] = "reply"
        answer = self._request("POST", f"/functions/{name}", headers, body, timeout_s=timeout_s)
        return read_reply(answer)

    def publish(self, event: Event) -> None:
        """Hand one event to the broker.

        Raises:
            NotRunningError: When no supervisor runs.
            SpoolFullError: When the broker's spool is full.
            PlatformError: When the broker refuses the event for another reason.
        """
        headers, body = events.encode_binary(event)
        answer = self._request("POST", "/", headers, body)
        if answer.status == SpoolFullError.http_status:
            raise SpoolFullError(_detail(answer.body), hint="send again later")
        if answer.status >= 300:
            raise PlatformError(f"the broker answered {answer.status}: {_detail(answer.body)}")

    def logs(self, name: str, *, lines: int = 100) -> list[str]:
        """Return the last log lines of a function, of a source (`FUNCTION.SOURCE`) or of an agent (`FUNCTION.agent`).

        Raises:
            NotFoundError: When there is no such log.
        """
        path, source = self.find_log(name)
        return tail(path, lines, source)

    def find_log(self, name: str) -> tuple[Path, str]:
        """Return the log file that a name stands for, and the source whose lines are wanted; empty for all lines.

        Raises:
            NotFoundError: When there is no such log.
        """
        parts = name.split(".")
        if len(parts) > 2 or not all(map(NAME_PATTERN.fullmatch, parts)):
            raise self._no_log(name)
        source = parts[1] if len(parts) == 2 and parts[1] in self._state.list_sources(parts[0]) else ""
        path = self._state.log(f"{parts[0]}.{AGENT}" if source else name)
        if not path.is_file():
            raise self._no_log(name)
        return path, "" if source == AGENT else source

    def _no_log(self, name: str) -> NotFoundError:
        known = ", ".join(sorted(log.stem for log in self._state.logs.glob("*.log"))) or "none"
        return NotFoundError(f"{name!r} has no log (logs exist for: {known})", hint="eaves status")

    def fetch(self, path: str) -> bytes | None:
        """Return a running supervisor's answer to a GET; None for 404.

        Args:
            path: Path and query of the control socket.

        Raises:
            NotRunningError: When no supervisor runs.
            PlatformError: When it doesn't answer, or answers with an error.
        """
        answer = self._request("GET", path)
        if answer.status == NotFoundError.http_status:
            return None
        if answer.status >= 300:
            raise PlatformError(f"`eaves up` on {self._state.root} answered {answer.status}")
        return answer.body

    def reconcile(self, name: str, done: str) -> None:
        """Make a running supervisor apply the changed spec.

        Args:
            name: Name of the changed app.
            done: What happened to the app, such as `deployed`, for the message.

        Raises:
            StartError: When the supervisor could not apply it.
        """
        try:
            answer = self._request("POST", "/reconcile", timeout_s=RECONCILE_TIMEOUT_S)
        except NotRunningError:
            return  # `eaves up` will read the spec when it starts
        failed = json.loads(answer.body)["failed"] if answer.status == 200 else {"": _detail(answer.body)}
        reason = failed.get(name) or failed.get("")
        if reason:
            but = "but it still runs" if done == "removed" else "but it is not running yet"
            hint = "`eaves up` tries again by itself; follow it with `eaves status`"
            raise StartError(f"{name} is {done}, {but}: {reason}", hint=hint)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> HttpAnswer:
        try:
            answer = ask_socket(self._state.socket, method, path, headers=headers, body=body, timeout_s=timeout_s)
        except NotRunningError as error:
            raise NotRunningError(
                f"no local platform runs with the state directory {self._state.root}",
                hint="start `eaves up` in another terminal",
            ) from error
        if answer.status == NotFoundError.http_status and path.startswith("/functions/"):
            raise NotFoundError(_detail(answer.body), hint="eaves status")
        return answer


def _refuse(name: str) -> None:
    raise NotFoundError(f"{name} has no canary, so one revision gets every request", hint="eaves deploy --canary")


def _detail(content: bytes) -> str:
    return str(parse_problem(content).get("detail") or "")[:500] or content[:200].decode(errors="replace")

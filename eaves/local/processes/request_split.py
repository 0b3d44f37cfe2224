"""The revisions of one function on this machine: its requests divided by share, and what its replicas have counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from eaves.base.clock import Clock
from eaves.base.process_usage import ProcessUsage
from eaves.delivery import SinkResponse
from eaves.errors import DeliveryError, StartError
from eaves.events import Event
from eaves.http_client.client import HttpAnswer
from eaves.local.processes.activator import Activator
from eaves.local.rollouts import LocalRollout
from eaves.local.state import LocalFunction
from eaves.rollout.counters import MetricsReading, RequestCounters
from eaves.rollout.function_metrics import REQUESTS, parse_counters
from eaves.rollout.plan import RevisionHealth, RolloutObservation, decide_rollout, plan_decision, take_readings

STRIDE = 61
"""Step from one request to the next among the hundred places of which the new revision has some.

As it has no divisor in common with 100, any 100 requests in a row fill each place once. Near 61.8, the golden section
of 100, it spreads a share evenly, and sources that take turns get the new revision equally often."""
READ_TIMEOUT_S = 1.0
"""Time limit for reading the counters of one replica, seconds; one that doesn't answer is read again a second later."""

T = TypeVar("T")


class RequestSplit:
    """The replicas of a function's revision, and during a rollout those of a new one, which gets a share of requests.

    A request of a revision that can't start goes to the other one, if that has a share. Any thread may use it.

    Args:
        stable: Replicas of the revision that serves.
        candidate: Replicas of the new revision; None without one.
        percent: Share of the requests that the new revision gets.
        clock: Clock for time limits.
    """

    def __init__(
        self, stable: Activator, candidate: Activator | None = None, percent: int = 0, *, clock: Clock
    ) -> None:
        self.stable = stable
        self.candidate = candidate
        self.percent = percent
        self._clock = clock
        self._numbers = itertools.count()

    @property
    def activators(self) -> tuple[Activator, ...]:
        """The replicas of each revision."""
        return (self.stable,) if self.candidate is None else (self.stable, self.candidate)

    def matches(self, stable: LocalFunction, candidate: LocalFunction | None, percent: int) -> bool:
        """Return whether these functions have these shares already."""
        present = [one.spec for one in self.activators]
        return present == ([stable] if candidate is None else [stable, candidate]) and percent == self.percent

    def send(
        self, event: Event, *, timeout_s: float, headers: Mapping[str, str] = MappingProxyType({})
    ) -> SinkResponse:
        """Send one event to the revision whose turn it is; the arguments and errors are those of `Activator.send`."""
        return self._ask(lambda one, left_s: one.send(event, timeout_s=left_s, headers=headers), timeout_s)

    def forward(self, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> HttpAnswer:
        """Send an HTTP request to the revision whose turn it is; the errors are those of `Activator.forward`."""
        return self._ask(lambda one, left_s: one.forward(headers, body, timeout_s=left_s), timeout_s)

    def _ask(self, ask: Callable[[Activator, float], T], timeout_s: float) -> T:
        deadline = self._clock.monotonic() + timeout_s
        first, *others = self._take_turn()
        try:
            return ask(first, timeout_s)
        except StartError:  # nothing was sent
            if not others:
                raise
        return ask(others[0], max(1.0, deadline - self._clock.monotonic()))

    def _take_turn(self) -> tuple[Activator, ...]:
        """Return the revision whose turn it is, and then the other one with a share."""
        if self.candidate is None or not self.percent:
            return (self.stable,)
        is_new = next(self._numbers) * STRIDE % 100 < self.percent
        return (self.candidate, self.stable) if is_new else (self.stable, self.candidate)

    def state(self) -> tuple[str, int, str]:
        """Return the state of the revision that serves, the replicas of all, and the reason of a failure."""
        condition, _ = self.stable.state()
        return condition, sum(one.state()[1] for one in self.activators), self.stable.reason

    def usage(self) -> ProcessUsage:
        """Return the usage of all replicas."""
        return sum((one.usage() for one in self.activators), ProcessUsage())

    def advance(self, rollout: LocalRollout, now: float) -> LocalRollout:
        """Count the requests of both revisions, decide the next action, and return the rollout after it.

        Args:
            rollout: Rollout of the two revisions, which is held or advances.
            now: Unix time in seconds.
        """
        state, new = rollout.state, self.candidate
        if new is None:
            return rollout
        readings: list[MetricsReading] = []
        unread: dict[str, str] = {}
        for activator, revision in ((self.stable, state.old), (new, state.new)):
            _read_counters(activator, revision, readings, unread)
        present = (*(one.pod for one in readings), *unread)
        state = take_readings(state, readings, present, tuple(unread), now)
        artifact = rollout.after.function.artifact
        health = RevisionHealth(name=state.new, exists=artifact.is_dir(), ready=new.health(), message=new.reason)
        old = RevisionHealth(name=state.old, exists=rollout.before.function.artifact.is_dir())
        seen = RolloutObservation(new=health, old=old, traffic=state.traffic, unread=unread)
        decision = decide_rollout(state, seen, now)
        return replace(rollout, state=plan_decision(state, decision, state.traffic, now, tuple(unread)).state)


def _read_counters(activator: Activator, revision: str, readings: list[MetricsReading], unread: dict[str, str]) -> None:
    """Read what each replica of a revision has counted; its crashes are a reading of their own.

    Args:
        activator: The replicas.
        revision: Name of their revision.
        readings: Gets the readings.
        unread: Gets the reason by name of each replica that can't be read.
    """
    crashes = RequestCounters(failed=activator.crashes)
    readings.append(MetricsReading(pod=f"{revision} crashes", revision=revision, tally=crashes))
    for replica in activator.list_ready():
        name = f"{revision} {replica.process.pid}"
        try:
            answer = replica.client.request("GET", f"{replica.url}metrics", timeout_s=READ_TIMEOUT_S)
        except DeliveryError as error:
            unread[name] = error.message
            continue
        text = answer.body.decode(errors="replace")
        if answer.status != 200 or REQUESTS not in text:
            unread[name] = f"/metrics answered {answer.status}"
            continue
        tally, slowest = parse_counters(text)
        readings.append(MetricsReading(pod=name, revision=revision, tally=tally, slowest=slowest))

"""The revisions of one function on this machine: its requests divided by share, and what its replicas have counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from eaves.base.clock import Clock
from eaves.base.process_usage import ProcessUsage
from eaves.errors import DeliveryError, StartError
from eaves.local.processes.activator import Activator
from eaves.local.rollouts import LocalRollout
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

    Any thread may use it.

    Args:
        activators: Replicas of the revision that serves, and perhaps of the new one.
        percent: Share of the requests that the new revision gets.
        clock: Clock for time limits.
    """

    def __init__(self, activators: Sequence[Activator], percent: int, clock: Clock) -> None:
        self.activators = activators
        self.percent = percent
        self._clock = clock
        self._numbers = itertools.count()

    def ask(self, ask: Callable[[Activator, float], T], timeout_s: float) -> T:
        """Pass one request to the revision whose turn it is, or to the other one with a share if that can't start.

        Args:
            ask: Sends the request to the replicas of a revision within a time limit in seconds.
            timeout_s: Time limit in seconds.

        Raises:
            EavesError: Any error of `Activator.send` and `Activator.forward`.
        """
        deadline = self._clock.monotonic() + timeout_s
        first, *others = self._take_turn()
        try:
            return ask(first, timeout_s)
        except StartError:  # nothing was sent
            if not others:
                raise
        return ask(others[0], max(1.0, deadline - self._clock.monotonic()))

    def _take_turn(self) -> Sequence[Activator]:
        """Return the revisions with a share, and first the one whose turn it is."""
        if not self.percent:
            return self.activators[:1]
        is_new = next(self._numbers) * STRIDE % 100 < self.percent
        return self.activators[::-1] if is_new else self.activators

    def state(self) -> tuple[str, int, str]:
        """Return the state of the revision that serves, the replicas of all, and the reason of a failure."""
        stable = self.activators[0]
        return stable.state()[0], sum(one.state()[1] for one in self.activators), stable.reason

    def usage(self) -> ProcessUsage:
        """Return the usage of all replicas."""
        return sum((one.usage() for one in self.activators), ProcessUsage())

    def advance(self, rollout: LocalRollout, now: float) -> LocalRollout:
        """Count the requests of both revisions, decide the next action, and return the rollout after it.

        Args:
            rollout: Rollout of the two revisions, which advances, or is held with a share for each.
            now: Unix time in seconds.
        """
        state, new = rollout.state, self.activators[-1]
        readings: list[MetricsReading] = []
        unread: dict[str, str] = {}
        for activator, revision in zip(self.activators, (state.old, state.new), strict=True):
            _read_counters(activator, revision, readings, unread)
        present = (*(one.pod for one in readings), *unread)
        state = take_readings(state, readings, present, tuple(unread), now)
        exist = [app.function.artifact.is_dir() for app in (rollout.before, rollout.after)]
        seen = RolloutObservation(
            new=RevisionHealth(name=state.new, exists=exist[1], ready=new.health(), message=new.reason),
            old=RevisionHealth(name=state.old, exists=exist[0]),
            traffic=state.traffic,
            unread=unread,
        )
        decision = decide_rollout(state, seen, now)
        return replace(rollout, state=plan_decision(state, decision, state.traffic, now, tuple(unread)).state)


def _read_counters(activator: Activator, revision: str, readings: list[MetricsReading], unread: dict[str, str]) -> None:
    """Read what each replica of a revision has counted; the requests without an answer are a reading of their own.

    Args:
        activator: The replicas.
        revision: Name of their revision.
        readings: Gets the readings.
        unread: Gets the reason by name of each replica that can't be read.
    """
    unanswered = RequestCounters(failed=activator.unanswered)
    readings.append(MetricsReading(pod=f"{revision} unanswered", revision=revision, tally=unanswered))
    for replica in activator.list_ready():
        name = f"{revision} {replica.process.pid}"
        try:
            answer = replica.client.request("GET", f"{replica.url}metrics", timeout_s=READ_TIMEOUT_S)
        except DeliveryError as error:
            unread[name] = error.message
            continue
        text = answer.body.decode(errors="replace")
        if REQUESTS not in text:
            unread[name] = f"/metrics answered {answer.status}"
            continue
        tally, slowest = parse_counters(text)
        readings.append(MetricsReading(pod=name, revision=revision, tally=tally, slowest=slowest))

"""Simulates one rollout of a function with Eaves' real counters and judge, and random requests."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from eaves.local.processes.request_split import STRIDE
from eaves.rollout import RolloutSettings
from eaves.rollout.counters import MetricsReading, RequestCounters, accumulate
from eaves.rollout.plan import RevisionHealth, RolloutObservation, decide_rollout, plan_decision
from eaves.rollout.state import RolloutPhase, RolloutState

OLD, NEW = "f-00001", "f-00002"
PODS = ((OLD, 2), (NEW, 1))
"""Number of pods of each revision."""
POLL_S, LATER_S, LATER_AFTER_S = 5.0, 15.0, 600.0
"""Seconds between two readings of the counters: POLL_S at first, LATER_S once a step has taken LATER_AFTER_S seconds.
The longer interval saves time and hardly changes the results."""
FIRST_TIMES = 5.0
"""Time of a process's first prediction, as a multiple of the mean time, because the first one is slower."""
UNREAD = 0.02
"""Probability that the counters of a pod can't be read at a reading."""
POD_LIFE_S = 600.0
"""Mean seconds until a pod stops. Half of the pods that stop are restarted, the other half are replaced by new pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """Simulated behaviour of one revision of a function.

    Attributes:
        errors: Share of requests that fail, or a function that returns it for the seconds since the start of the
            rollout.
        refusals: Share of requests that are refused (4xx).
        ms: Mean time of a prediction, ms.
        cv: Standard deviation of the time of a prediction, divided by its mean.
    """

    errors: float | Callable[[float], float] = 0.0
    refusals: float = 0.0
    ms: float = 100.0
    cv: float = 0.5

    def error_rate(self, at_s: float) -> float:
        """Return the share of requests that fail at a time, in seconds since the start of the rollout."""
        return self.errors(at_s) if callable(self.errors) else self.errors


@dataclass(slots=True)
class Pod:
    """One simulated replica of a function, with the counters of its requests."""

    name: str
    revision: str
    node: int = 0
    restarts: int = 0
    tally: RequestCounters = field(default_factory=RequestCounters)
    slowest: RequestCounters = field(default_factory=RequestCounters)

    def serve(
        self,
        random: np.random.Generator,
        requests: int,
        failed: int,
        refused: int,
        kind: Revision,
        *,
        slowness: float,
        counts: bool,
    ) -> None:
        """Add requests with random times, of which some fail and some are refused, to the counters of this pod.

        With `counts` false their sender counts them, and the pod only their times.
        """
        ms = kind.ms * slowness
        answered = requests - failed - refused
        seconds = 0.0
        if answered:
            # The sum of n times follows a gamma distribution.
            spread = max(kind.cv, 1e-6) ** 2
            seconds = float(random.gamma(answered / spread, spread * ms)) / 1000
            if not self.tally.timed:
                first = FIRST_TIMES * ms / 1000 + seconds / answered
                seconds += FIRST_TIMES * ms / 1000
                self.slowest = RequestCounters(timed=1, seconds=round(first, 6))
        self.tally += RequestCounters(timed=answered, seconds=seconds)
        if counts:
            self.tally += RequestCounters(answered=answered, failed=failed, refused=refused)

    def read(self) -> MetricsReading:
        """Return the counters as they are read from a real replica's metrics page."""
        return MetricsReading(
            pod=self.name,
            revision=self.revision,
            node=f"node-{self.node}",
            restarts=self.restarts,
            tally=self.tally,
            slowest=self.slowest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Last phase of a simulated rollout, its reason, and how many requests the new revision had failed or refused.

    `after_s` is the time until then, in seconds.
    """

    phase: RolloutPhase
    failed: int
    reason: str
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Simulated site of a rollout.

    Attributes:
        has_agent: Whether an agent sends the requests, and counts them; otherwise pods count them.
        look_s: Seconds between two looks; None: every few seconds, as `deploy --wait` looks.
        slowness: Factor of the times of each node.
        idle_s: Seconds without a request after which a revision has no pods; 0: it keeps them.
        spread: Whether each revision has a pod on each node. Otherwise the old one has two and the new one has one pod,
            each on a random node.
        takes_turns: Whether requests are divided in turns, as on one machine, and not drawn by the shares.
    """

    has_agent: bool = False
    look_s: float | None = None
    slowness: tuple[float, ...] = (1.0,)
    idle_s: float = 0.0
    spread: bool = False
    takes_turns: bool = False


def simulate(old: Revision, new: Revision, *, per_second: float, seed: int, site: Site | None = None) -> Ending:
    """Simulate one rollout with this many requests per second of both revisions, until it is done, back or held."""
    random, site = np.random.default_rng(seed), site or Site()
    kinds = {OLD: old, NEW: new}
    nodes = len(site.slowness)
    placed = {name: [*range(nodes)] if site.spread else list(random.integers(nodes, size=few)) for name, few in PODS}
    pods = {name: [Pod(f"{name}-{n}", name, int(node)) for n, node in enumerate(placed[name])] for name in kinds}
    sent = dict.fromkeys(kinds, RequestCounters())
    state = RolloutState(old=OLD, new=NEW, phase=RolloutPhase.ADVANCING, settings=RolloutSettings())
    state = state.become(RolloutPhase.ADVANCING, {OLD: 100}, 0.0)
    state = replace(state, counts=accumulate(state.counts, read_agent(sent), ()))
    now, failed, born, turn = 0.0, 0, 9, 0
    while state.phase is RolloutPhase.ADVANCING:
        poll_s = site.look_s or (POLL_S if now - state.since < LATER_AFTER_S else LATER_S)
        now += poll_s
        requests = int(random.poisson(per_second * poll_s))
        of_new = int(random.binomial(requests, state.percent / 100))
        if site.takes_turns:
            of_new = sum(number * STRIDE % 100 < state.percent for number in range(turn, turn + requests))
            turn += requests
        readings: list[MetricsReading] = []
        for name, count in ((OLD, requests - of_new), (NEW, of_new)):
            rate = kinds[name].error_rate(now)
            for pod, some in zip(pods[name], _divide(random, count, len(pods[name])), strict=True):
                bad = int(random.binomial(some, rate))
                refused = int(random.binomial(some - bad, kinds[name].refusals)) if kinds[name].refusals else 0
                failed += bad + refused if name == NEW else 0
                slowness = site.slowness[pod.node]
                pod.serve(random, some, bad, refused, kinds[name], slowness=slowness, counts=not site.has_agent)
                sent[name] += RequestCounters(answered=some - bad - refused, failed=bad, refused=refused)
            readings += [pod.read() for pod in pods[name] if random.random() >= UNREAD]
        present = [pod.name for some_pods in pods.values() for pod in some_pods]
        if site.has_agent and random.random() >= UNREAD:
            readings += read_agent(sent)
        state = replace(state, counts=accumulate(state.counts, readings, present).close_window(now, state.since))
        unread = dict.fromkeys(set(present) - {one.pod for one in readings}, "timed out")
        seen = RolloutObservation(
            new=RevisionHealth(name=NEW), old=RevisionHealth(name=OLD), traffic=state.traffic, unread=unread
        )
        decision = decide_rollout(state, seen, now)
        state = plan_decision(state, decision, state.traffic, now, tuple(unread)).state
        shares = {NEW: state.percent / 100, OLD: 1 - state.percent / 100}
        for name in kinds if site.idle_s else ():
            if random.random() < math.exp(-per_second * shares[name] * site.idle_s):
                pods[name] = [Pod(f"{name}-{born}", name, int(random.integers(nodes)))]
                born += 1
        born = _end_some(random, pods, born, poll_s, nodes if not site.spread else 0)
    return Ending(phase=state.phase, failed=failed, reason=state.reason, after_s=now)


def read_agent(sent: dict[str, RequestCounters]) -> list[MetricsReading]:
    """Return what the agent has counted, as it is read from its report."""
    return [MetricsReading(pod=f"spool/{name}", revision=name, tally=tally) for name, tally in sent.items()]


def _divide(random: np.random.Generator, count: int, pods: int) -> list[int]:
    if pods == 1:
        return [count]
    first = int(random.binomial(count, 1 / pods))
    return [first, *_divide(random, count - first, pods - 1)]


def _end_some(random: np.random.Generator, pods: dict[str, list[Pod]], born: int, poll_s: float, nodes: int) -> int:
    """Stop random pods, restart or replace them, and return the number of pods that have existed so far.

    With `nodes` above 0, another pod is on a random one of so many nodes.
    """
    for name, some in pods.items():
        for index, pod in enumerate(some):
            if random.random() >= poll_s / POD_LIFE_S:
                continue
            if random.random() < 0.5:
                some[index] = Pod(pod.name, name, pod.node, restarts=pod.restarts + 1)
            else:
                some[index] = Pod(f"{name}-{born}", name, int(random.integers(nodes)) if nodes else pod.node)
                born += 1
    return born

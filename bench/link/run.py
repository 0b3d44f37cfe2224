"""Measures the edge setup and the cloud-only setup on one link at the same time, while processes are killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.link.arms import Arm, build_cloud, build_edge
from bench.link.arrivals import AgentWatcher, Arrivals, read_cloud, read_edge
from bench.link.conditions import Condition
from bench.link.network import Network, Traffic, open_network
from bench.link.processes import Killer, plan_kills
from bench.link.summary import Image
from bench.processes import environment, python

DRAIN_LIMIT_S = 600.0
WARM_S = 120.0
OFFSET_S = 0.5
"""Seconds by which the photos of the second setup are taken later than those of the first, so that the two functions
don't compete for the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a measurement on one link.

    Attributes:
        condition: Link of the measurement, with the times at which it is up or down.
        seconds: Time during which photos are taken, seconds.
        artifact: Directory of the artifact that predicts.
        photos: Content of the photos, used one after the other and then again from the first.
        kill_mean_s: Mean seconds between two killed processes.
        seed: Seed of the random kills and losses.
        kind: Kind of the network, `packets` or `proxy`; empty: packets if this user may create them.
    """

    condition: Condition
    seconds: float
    artifact: Path
    photos: Sequence[bytes]
    kill_mean_s: float = 30.0
    seed: int = 0
    kind: str = ""


BUILD: dict[str, Callable[[Path, Network, Path, Sequence[bytes]], Arm]] = {"edge": build_edge, "cloud": build_cloud}
READ: dict[str, Callable[[Arm], Arrivals]] = {"edge": read_edge, "cloud": read_cloud}


def say(text: str) -> None:
    """Write a line of progress to stderr, with the time of day."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Measure both setups on one link, each on a network of its own; return the result as plain data for JSON."""
    with open_arms(plan, folder) as arms:
        return _measure(plan, arms)


@contextmanager
def open_arms(plan: Plan, folder: Path) -> Iterator[dict[str, Arm]]:
    """Start both setups over links without delay and loss, in an emptied folder; stop them after the `with` block."""
    shutil.rmtree(folder, ignore_errors=True)
    networks: dict[str, Network] = {}
    arms: dict[str, Arm] = {}
    watchers: list[AgentWatcher] = []
    try:
        for name, build in BUILD.items():
            networks[name] = open_network(f"lx{name[0]}", seed=plan.seed, kind=plan.kind)
            arms[name] = build(folder.resolve() / name, networks[name], plan.artifact, plan.photos)
            arms[name].start()
            watchers.append(AgentWatcher(arms[name].folder / "agent.db", arms[name].waiting))
        _warm_up(list(arms.values()))
        yield arms
    finally:
        for watcher in watchers:
            watcher.stop()
        for arm in arms.values():
            arm.stop()
        for network in networks.values():
            network.close()
        for arm in arms.values():
            shutil.rmtree(arm.camera.inbox, ignore_errors=True)


def _warm_up(arms: Sequence[Arm]) -> None:
    """Wait until each setup has predicted a photo over a link without delay and loss."""
    names = {arm.name: arm.camera.take("warm-up", arm.camera.photos[0]) for arm in arms}
    deadline = time.monotonic() + WARM_S
    for arm in arms:
        while names[arm.name] not in READ[arm.name](arm).last:
            if time.monotonic() > deadline or any(part.has_ended() for part in arm.parts.values()):
                raise TimeoutError(f"the arm {arm.name} made no prediction; see {arm.folder}/*.log")
            time.sleep(0.2)
        arm.camera.taken.clear()


def _measure(plan: Plan, arms: Mapping[str, Arm]) -> dict[str, Any]:
    condition, stop = plan.condition, threading.Event()
    for arm in arms.values():
        arm.network.set_link(condition.link)
    before = {name: arm.network.traffic() for name, arm in arms.items()}
    roles = sorted({role for arm in arms.values() for role in arm.killed})
    by_role = {role: [arm.parts[role] for arm in arms.values() if role in arm.killed] for role in roles}
    kills = plan_kills(roles, seconds=plan.seconds, mean_s=plan.kill_mean_s, seed=plan.seed)
    killer = Killer(by_role, kills)
    start, began = time.monotonic() + 1.0, time.time() + 1.0
    phases = condition.phases(plan.seconds)
    threads = [
        threading.Thread(target=arm.camera.run, args=(start + number * OFFSET_S, plan.seconds, stop))
        for number, arm in enumerate(arms.values())
    ]
    threads.append(threading.Thread(target=_follow, args=(phases, start, list(arms.values()), stop)))
    for thread in threads:
        thread.start()
    killer.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()
        killer.stop()
    load = os.getloadavg()
    say(f"all photos are taken, {len(killer.kills)} kills; waiting for events that are still on their way")
    ended = _drain(plan, arms, start)
    after = {name: arm.network.traffic() for name, arm in arms.items()}
    for arm in arms.values():
        arm.network.set_link(type(condition.link)())
        arm.network.set_state("up")
    return {
        "link": condition.name,
        "text": condition.text,
        **asdict(condition.link),
        "kind": next(iter(arms.values())).network.kind,
        "seconds": plan.seconds,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "phases": phases,
        "kills": [(round(at - began, 1), role) for at, role in killer.kills],
        "drained": ended,
        "load": [round(one, 1) for one in load],
        "arms": {name: _report(arm, began, phases, before[name], after[name]) for name, arm in arms.items()},
    }


def _follow(phases: Sequence[tuple[float, str]], start: float, arms: Sequence[Arm], stop: threading.Event) -> None:
    for at, state in phases:
        if stop.wait(max(0.0, start + at - time.monotonic())):
            return
        for arm in arms:
            arm.network.set_state(state)  # type: ignore[arg-type]


def _drain(plan: Plan, arms: Mapping[str, Arm], start: float) -> bool:
    """Wait until every photo's prediction has reached its destination, while the link continues to go up and down.

    Return False when a prediction is still missing after `DRAIN_LIMIT_S` seconds.
    """
    deadline, stop = time.monotonic() + DRAIN_LIMIT_S, threading.Event()
    course = [one for one in plan.condition.phases(plan.seconds + DRAIN_LIMIT_S) if one[0] >= plan.seconds]
    following = threading.Thread(target=_follow, args=(course, start, list(arms.values()), stop))
    if plan.condition.course:
        following.start()
    try:
        while time.monotonic() < deadline:
            if all(arm.camera.taken.keys() <= READ[name](arm).last.keys() for name, arm in arms.items()):
                return True
            time.sleep(0.5)
        return False
    finally:
        stop.set()
        if plan.condition.course:
            following.join()


def _report(
    arm: Arm, began: float, phases: Sequence[tuple[float, str]], before: Traffic, after: Traffic
) -> dict[str, Any]:
    found, images = READ[arm.name](arm), []
    for name, taken in arm.camera.taken.items():
        at_s = taken - began
        state = next((state for start, state in reversed(phases) if start <= at_s), "up")
        images.append(
            Image(
                name=name,
                at_s=round(at_s, 3),
                size_bytes=arm.camera.sizes[name],
                state=state,
                predicted_s=_since(found.at_edge.get(name), taken),
                in_cloud_s=_since(found.in_cloud.get(name), taken),
            )
        )
    last = max(arm.camera.taken.values())
    arrived = [found.last[name] for name in arm.camera.taken if name in found.last]
    lost = len(arm.camera.taken) - len(arrived)
    return {
        "images": [asdict(one) for one in images],
        "lost": lost,
        "repeated": found.repeated,
        "bytes_up": after.bytes_up - before.bytes_up,
        "bytes_down": after.bytes_down - before.bytes_down,
        "drain_s": None if lost else round(max(0.0, max(arrived) - last), 3),
        "audit": _audit(arm) if arm.name == "edge" else None,
    }


def _audit(arm: Arm) -> dict[str, Any]:
    """Run `eaves relay audit` on the spools of the relay and the receiver; return its output and exit code."""
    command = [python(), "-P", "-m", "eaves.cli", "relay", "audit", "-o", "json"]
    spools = ["--sent", str(arm.folder / "relay.db"), "--received", str(arm.folder / "receiver.db")]
    done = subprocess.run([*command, *spools], capture_output=True, text=True, check=False, env=environment())
    try:
        said = json.loads(done.stdout)
    except ValueError:
        said = done.stderr[-500:]
    return {"exit_code": done.returncode, "said": said}


def _since(moment: float | None, taken: float) -> float | None:
    return None if moment is None else round(moment - taken, 4)

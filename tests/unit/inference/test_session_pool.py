"""Which session a prediction runs in: by the CPUs, the memory and the predictions that run at the same time."""

import logging
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from eaves.errors import ArtifactError
from eaves.inference.session import (
    ActivePredictions,
    Session,
    SessionPool,
    ThreadPlan,
    plan_threads,
)
from tests.waiting import wait_until

BATCH = np.zeros((1, 1), np.float32)
BOTH = ThreadPlan(threads=2, wide_runs=1, second=True)


class NamedSession:
    """Answers its own name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def answer(self, batch: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
        return {self._name: batch}


def named(name: str) -> Session:
    return cast(Session, NamedSession(name))


def answered(pool: SessionPool, active: ActivePredictions, running: int) -> str:
    """Return the name of the session that answers when so many predictions run."""
    with ExitStack() as stack:
        for _ in range(running):
            stack.enter_context(active.running())
        (name,) = pool.answer(BATCH)
    return name


@pytest.mark.parametrize(
    ("cpus", "concurrency", "fits", "limit", "plan"),
    [
        (1, 4, True, 0, (1, 4, False)),
        (2, 2, True, 0, (2, 1, True)),
        (2, 2, False, 0, (1, 2, False)),
        (2, 2, True, 1, (1, 2, False)),
        (4, 2, False, 0, (4, 2, False)),
        (4, 4, True, 3, (3, 2, True)),
        (8, 8, False, 0, (1, 8, False)),
    ],
)
def test_sessions_by_cpus_concurrency_and_memory(
    cpus: int, concurrency: int, fits: bool, limit: int, plan: tuple[int, int, bool]
):
    own_bytes, memory_bytes = (100_000_000, 640_000_000 if fits else 639_999_999)
    made = plan_threads(cpus=cpus, concurrency=concurrency, own_bytes=own_bytes, memory_bytes=memory_bytes, limit=limit)
    assert (made.threads, made.wide_runs, made.second) == plan


def test_a_lone_prediction_never_opens_the_second_session():
    active = ActivePredictions()
    pool = SessionPool(named("wide"), BOTH, active)
    pool.allow_second(lambda: pytest.fail("opened"))
    assert answered(pool, active, 1) == "wide"
    assert (pool.sessions, pool.threads) == (1, 2)
    assert active.count == 0


def test_predictions_that_overlap_use_the_second_session_once_it_is_open():
    active, gate = ActivePredictions(), threading.Event()
    pool = SessionPool(named("wide"), BOTH, active)

    def open_second() -> Session:
        assert gate.wait(10)
        return named("single")

    pool.allow_second(open_second)
    assert answered(pool, active, 2) == "wide"
    gate.set()
    wait_until(lambda: pool.sessions == 2)
    assert answered(pool, active, 2) == "single"
    assert answered(pool, active, 1) == "wide"


@pytest.mark.parametrize("error", [ArtifactError("differs from its golden image", hint="convert again"), OSError("x")])
def test_a_second_session_that_fails_its_check_is_logged_and_never_used(
    error: Exception, caplog: pytest.LogCaptureFixture
):
    active, done = ActivePredictions(), threading.Event()
    pool = SessionPool(named("wide"), BOTH, active)

    def fail() -> Session:
        done.set()
        raise error

    with caplog.at_level(logging.ERROR):
        pool.allow_second(fail)
        answered(pool, active, 2)
        assert done.wait(10)
        wait_until(lambda: "isn't used" in caplog.text)
    assert answered(pool, active, 2) == "wide"
    assert pool.sessions == 1

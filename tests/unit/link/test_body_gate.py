"""The end of a request's body waits until it is let go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from eaves.link.body_gate import BodyGate


def test_the_last_piece_waits_until_the_gate_opens() -> None:
    gate = BodyGate()
    with ThreadPoolExecutor(1) as pool:
        passes = pool.submit(gate.pass_last)
        assert gate.wait_handed(10.0), "everything before the last piece was handed over"
        assert (gate.is_passed, passes.done()) == (False, False)
        gate.open()
        assert passes.result(10.0) is True
    assert gate.is_passed


def test_a_request_that_is_withdrawn_is_never_let_go() -> None:
    gate = BodyGate()
    with ThreadPoolExecutor(1) as pool:
        passes = pool.submit(gate.pass_last)
        assert gate.wait_handed(10.0)
        gate.withdraw()
        gate.open()
        assert passes.result(10.0) is False
    assert (gate.is_passed, gate.is_withdrawn) == (False, True)


def test_what_was_let_go_can_not_be_withdrawn() -> None:
    gate = BodyGate(is_open=True)
    gate.withdraw()
    assert (gate.pass_last(), gate.is_withdrawn) == (True, False)


def test_nobody_waits_for_ever_with_an_unfinished_request() -> None:
    gate = BodyGate(hold_s=0.01)
    assert not gate.pass_last()
    gate.open()
    assert not gate.is_passed


def test_a_request_that_is_over_keeps_no_other_waiting() -> None:
    gate = BodyGate()
    assert not gate.wait_handed(0.01)
    gate.end()
    assert gate.wait_handed(0.01)

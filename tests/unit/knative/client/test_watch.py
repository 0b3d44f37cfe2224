"""What is made of lists, events and lines that break off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eaves.errors import AbsentError, ClusterError, DeniedError, UnreachableClusterError
from knative.client.api_errors import ApiCall, ExpiredError
from knative.client.watch import Change, KnownObjects, follow_log, parse_events, split_lines, watch_objects

CALL = ApiCall(context="barn", server="https://10.0.0.1")


def thing(name: str, version: int = 1, uid: str = "u") -> dict[str, Any]:
    return {"metadata": {"namespace": "cams", "name": name, "resourceVersion": str(version), "uid": uid}}


class Clock:
    """Time that passes by sleeping, and by a second for each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def short(changes: Iterator[Change]) -> list[str]:
    return [f"{kind} {item['metadata']['name']}{item['metadata']['resourceVersion']}" for kind, item in changes]


def test_a_list_says_what_came_changed_and_went() -> None:
    known = KnownObjects()
    assert short(known.listed([thing("a"), thing("b"), thing("c")])) == ["ADDED a1", "ADDED b1", "ADDED c1"]
    again = [thing("a"), thing("b", 2), thing("c", 3, uid="new"), thing("d")]
    assert short(known.listed(again)) == ["MODIFIED b2", "DELETED c1", "ADDED c3", "ADDED d1"]
    assert short(known.listed([])) == ["DELETED a1", "DELETED b2", "DELETED c3", "DELETED d1"]


def test_an_event_that_is_known_is_not_reported_again() -> None:
    known = KnownObjects()
    assert short(known.update("ADDED", thing("a"))) == ["ADDED a1"]
    assert short(known.update("ADDED", thing("a"))) == []
    assert short(known.update("DELETED", thing("a", 2))) == ["DELETED a2"]
    assert short(known.update("DELETED", thing("a", 2))) == []


Script = list[list[Change] | ClusterError]


def watch(
    script: Script, lists: list[list[dict[str, Any]]], timeout_s: float = 60
) -> tuple[list[str], list[str], Clock]:
    """What a watch tells, from which versions it asked, and how time went; after the script nothing happens."""
    clock, asked = Clock(), []

    def listing() -> tuple[list[dict[str, Any]], str]:
        asked.append("list")
        return lists.pop(0), "10"

    def streaming(version: str, left_s: float) -> Iterator[Change]:
        asked.append(version)
        if not script:
            clock.now += left_s
            return
        step = script.pop(0)
        if isinstance(step, ClusterError):
            raise step
        yield from step

    changes = watch_objects(listing, streaming, timeout_s=timeout_s, sleep=clock.sleep, clock=clock, chance=lambda: 0.5)
    return short(changes), asked, clock


def test_a_watch_continues_from_the_last_version_that_it_saw() -> None:
    events: Script = [[("MODIFIED", thing("a", 11))], [("BOOKMARK", {"metadata": {"resourceVersion": "20"}})], []]
    reported, asked, _ = watch(events, [[thing("a")]])
    assert reported == ["ADDED a1", "MODIFIED a11"]
    assert asked == ["list", "10", "11", "20", "20"]


def test_a_watch_of_a_forgotten_version_lists_again() -> None:
    reported, asked, _ = watch([ExpiredError("gone"), []], [[thing("a")], [thing("b", 5)]])
    assert reported == ["ADDED a1", "DELETED a1", "ADDED b5"]
    assert asked[:3] == ["list", "10", "list"]


def test_a_server_that_ends_or_refuses_every_watch_is_asked_less_and_less() -> None:
    _, _, clock = watch([[], [], UnreachableClusterError("no"), ClusterError("429")], [[]])
    assert clock.slept[:4] == sorted(clock.slept[:4])
    assert 0 < clock.slept[0] < clock.slept[3] / 4


def test_a_watch_that_lacks_a_right_ends() -> None:
    with pytest.raises(DeniedError):
        watch([DeniedError("no")], [[]])


def test_a_watch_without_a_connection_at_its_end_says_so() -> None:
    with pytest.raises(UnreachableClusterError, match="down"):
        watch([UnreachableClusterError("down")] * 99, [[]], timeout_s=20)


def test_events_are_parsed_from_chunks_of_any_size() -> None:
    text = b"".join(json.dumps({"type": "ADDED", "object": thing(name)}).encode() + b"\n" for name in "ab")
    whole = short(parse_events([text], CALL))
    assert whole == ["ADDED a1", "ADDED b1"]
    assert short(parse_events([text[at : at + 1] for at in range(len(text))], CALL)) == whole


@pytest.mark.parametrize(
    "text",
    [b'{"type": "ADDED", "obj', b"[]\n", b'{"type": "ADDED"}\n', b'{"type": "ADDED", "object": {}}\n', b"\xff\n"],
)
def test_an_event_that_breaks_off_is_a_broken_watch(text: bytes) -> None:
    with pytest.raises(UnreachableClusterError, match="ended in the middle of an event"):
        list(parse_events([text], CALL))


def test_an_error_event_is_the_refusal_that_it_holds() -> None:
    def event(**status: Any) -> list[bytes]:
        return [json.dumps({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", **status}}).encode()]

    with pytest.raises(ExpiredError, match="barn: too old"):
        list(parse_events(event(code=410, message="too old"), CALL))
    with pytest.raises(ClusterError, match="barn: out of order"):
        list(parse_events(event(message="out of order"), CALL))


def test_lines_end_where_they_end() -> None:
    assert list(split_lines([b"a\nb", b"", b"c\n\n", b"d"])) == [b"a", b"bc", b"", b"d"]
    assert list(split_lines([])) == []


def log(*steps: list[bytes] | ClusterError, timeout_s: float = 60) -> tuple[list[str], list[dict[str, str]], Clock]:
    """What following a log tells, and with which queries it asked."""
    clock, asked, script = Clock(), [], list(steps)

    def streaming(query: dict[str, str], left_s: float) -> Iterator[bytes]:
        asked.append(query)
        step = script.pop(0)
        if isinstance(step, ClusterError):
            raise step
        yield from step
        if script:
            raise UnreachableClusterError("cut")

    reported = list(follow_log(streaming, timeout_s=timeout_s, sleep=clock.sleep, clock=clock, chance=lambda: 0.5))
    return reported, asked, clock


def test_a_log_that_is_cut_continues_after_the_last_line_it_reported() -> None:
    first = [b"2026-11-25T09:00:00.1Z a\n2026-11-25T09:00:00.2Z b\n"]
    second = [b"2026-11-25T09:00:00.2Z b\n2026-11-25T09:00:00.2Z b\n2026-11-25T09:00:00.3Z c d\n"]
    reported, asked, _ = log(first, second)
    assert reported == ["a", "b", "c d"]
    assert asked == [{}, {"sinceTime": "2026-11-25T09:00:00Z"}]


def test_lines_of_the_same_instant_are_all_reported() -> None:
    assert log([b"2026-11-25T09:00:00.1Z a\n2026-11-25T09:00:00.1Z b\n"])[0] == ["a", "b"]


def test_a_log_that_can_not_be_had_at_first_is_an_error() -> None:
    for error in (AbsentError("pod"), DeniedError("right"), ClusterError("x")):
        with pytest.raises(type(error)):
            log(error, error, error)


def test_a_log_whose_pod_has_gone_ends() -> None:
    assert log([b"2026-11-25T09:00:00.1Z a\n"], AbsentError("gone"))[0] == ["a"]


def test_a_log_that_stays_cut_is_an_error_when_time_is_over() -> None:
    down: Callable[[], ClusterError] = lambda: UnreachableClusterError("down")  # noqa: E731
    with pytest.raises(UnreachableClusterError, match="down"):
        log([b"2026-11-25T09:00:00.1Z a\n"], *(down() for _ in range(99)), timeout_s=20)

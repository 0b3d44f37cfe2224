"""What every platform promises. One suite, run over each implementation of `eaves.platform.Platform`."""

import base64
import json
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image

from eaves.admin.report import LinkReport
from eaves.errors import NotFoundError
from eaves.event_schemas import SCHEMAS
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_REJECTED, Event
from eaves.platform import FunctionStatus, ScaleSettings, TriggerSpec
from eaves.platform.triggers import matches_all
from tests.contract.conftest import NAME, MakeApp, MakeEvent, Receiving
from tests.contract.harness import Harness, label_of, status_of
from tests.contract.sinks import Reported, Sink, of, subjects
from tests.waiting import T, wait_until

MakeArtifact = Callable[[str], Path]


def wait(harness: Harness, predicate: Callable[[], T], timeout_s: float, what: str) -> T:
    """For as long as this platform may take."""
    return wait_until(predicate, timeout_s * harness.patience, pause_s=0.01 * harness.patience, what=what)


def status(harness: Harness) -> FunctionStatus:
    return status_of(harness.platform)


def predictions_to(harness: Harness, sink: Sink, **filter_: str) -> TriggerSpec:
    wanted = {"type": IMAGE_CLASSIFIED, **filter_}
    return TriggerSpec(name="out", filter=wanted, url=sink.url, delivery=harness.delivery)


def captured_to(harness: Harness, sink: Sink) -> TriggerSpec:
    return TriggerSpec(name="out", filter={"type": IMAGE_CAPTURED}, url=sink.url, delivery=harness.delivery)


def predicted(harness: Harness, event: Event) -> Event:
    """The prediction of an event sent straight to the function."""
    answer = harness.platform.invoke(NAME, event)
    assert answer.event is not None, (answer.status, answer.body)
    return answer.event


@pytest.fixture
def make_version(tiny_artifact: Path, tmp_path: Path) -> MakeArtifact:
    """The same artifact under another version, and so another digest."""

    def make(version: str) -> Path:
        folder = tmp_path / version
        shutil.copytree(tiny_artifact, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "version": version}))
        return folder

    return make


def test_a_function_is_listed_with_its_artifact_goes_to_zero_while_nothing_comes_and_comes_back(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent
):
    app = make_app(scale=ScaleSettings(idle_s=0.5))
    harness.deploy(app)
    for subject in ("first.png", "second.png"):
        wait(harness, lambda: status(harness).state == "idle", 30, what="zero replicas")
        found = status(harness)
        assert (found.name, found.replicas, found.reason) == (NAME, 0, "")
        assert found.artifact_digest == app.function.artifact_digest
        if (used := found.usage) is not None:  # replicas that have ended count; a cluster has none of it here
            assert (used.cpu_s > 0, used.memory_bytes) == (subject == "second.png", 0)
        predicted(harness, make_event(subject))


def test_an_event_sent_to_a_function_is_answered_by_a_prediction_or_the_reason_and_its_log_says_so(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent
):
    harness.deploy(make_app())
    cause = make_event("a b/ü.png")
    reply = predicted(harness, cause)
    assert (reply.type, reply.source) == (IMAGE_CLASSIFIED, f"/eaves/test/{NAME}")
    assert reply.subject == "a b/ü.png"
    jsonschema.validate(reply.json(), SCHEMAS[reply.type])
    assert (reply.extensions["causeid"], reply.extensions["causesource"]) == (cause.id, cause.source)
    assert reply.extensions["label"] == label_of(reply)
    assert predicted(harness, cause).id == reply.id
    wait(harness, lambda: status(harness).state == "ready", 10, what="the replica that answered")
    refused = harness.platform.invoke(NAME, make_event("bad.png", data=b"\x89PNG\r\n\x1a\nnot one"))
    assert (refused.status, refused.event) == (422, None)
    assert json.loads(refused.body)["type"] == "urn:eaves:problem:image"
    wait(harness, lambda: has_predicted(harness), 10, what="the line")


def has_predicted(harness: Harness) -> bool:
    """Whether the function's log says so; it has none before its first start."""
    try:
        return any("predicted" in line for line in harness.platform.logs(NAME, lines=50))
    except NotFoundError:
        return False


def test_a_published_event_reaches_the_function_and_its_prediction_reaches_the_subscriber(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    harness.deploy(make_app(predictions_to(harness, sink)))
    events = [make_event(f"{number}.png", image=number % 3) for number in range(9)]
    for event in (events[0], *events):  # one of them twice
        harness.platform.publish(event)
    wait(harness, lambda: len(subjects(sink)) == 9, 60, what="nine predictions")
    harness.settle(sink)
    assert {event.extensions["causeid"] for event in sink.received} == {event.id for event in events}
    assert {event.type for event in sink.received} == {IMAGE_CLASSIFIED}
    assert len({event.id for event in sink.received}) == 9


def test_a_trigger_passes_on_only_events_whose_attributes_match(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    harness.deploy(make_app())
    wanted = label_of(predicted(harness, make_event("0.png", image=0)))
    assert label_of(predicted(harness, make_event("1.png", image=1))) != wanted
    harness.deploy(make_app(predictions_to(harness, sink, label=wanted)))
    for number in (1, 0, 1, 0):
        harness.platform.publish(make_event(f"f{number}.png", image=number))
    wait(harness, lambda: of(sink, "f0.png"), 60, what="the matching predictions")
    harness.settle(sink)
    assert {event.extensions["label"] for event in sink.received} == {wanted}


def test_a_subscriber_that_is_down_gets_the_event_once_it_is_back(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    """An answer of 200 whose body is no event is a fault, too."""
    broken = Reported(status=200, content_type="text/plain", body="OK")
    sink.answer(Reported(status=503), Reported(status=503), broken, Reported(status=200))
    harness.deploy(make_app(predictions_to(harness, sink)))
    harness.platform.publish(make_event("retried.png"))
    wait(harness, lambda: len(sink.received) == 4, 60, what="the fourth attempt")
    harness.settle(sink)
    assert len({event.id for event in sink.received}) == 1
    assert (len(sink.received), harness.dead()) == (4, 0)


def test_an_event_that_is_refused_becomes_a_dead_letter_after_as_many_attempts_as_its_status_deserves(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent
):
    attempts = {400: 1, 422: 1, 500: 4, 429: 4}
    with ExitStack() as stack:
        sinks = {status: stack.enter_context(harness.open_sink()) for status in attempts}
        for number, one in sinks.items():
            one.answer(Reported(status=number, body="no"))
        triggers = tuple(replace(captured_to(harness, one), name=f"to-{number}") for number, one in sinks.items())
        harness.deploy(replace(make_app(), triggers=triggers))
        harness.platform.publish(make_event("refused.png"))
        wait(harness, lambda: sum(len(one.received) for one in sinks.values()) == 10, 30, what="every attempt")
        kept = len(attempts) if harness.durable else 1  # a cluster's harness counts events, not letters
        wait(harness, lambda: harness.dead() == kept, 30, what="each dead letter")
        harness.settle(sinks[500])
        assert {number: len(one.received) for number, one in sinks.items()} == attempts


ADDED_ON_THE_WAY = {"knativebrokerttl", "knativearrivaltime"}
"""What a broker of Knative leaves on a dead letter beside what is wanted."""


@pytest.mark.parametrize("named", [False, True], ids=["address", "trigger"])
def test_a_dead_letter_sink_gets_what_is_given_up_on_with_the_reason(
    named: bool, harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    """The sink is named by its address, or by the trigger that it receives other events of; its first answers fail."""
    sink.answer(Reported(status=422, content_type="application/json", body='{"detail": "no"}'))
    with harness.open_sink() as dead:
        dead.answer(Reported(status=503), Reported(status=503), Reported())
        delivery = replace(harness.delivery, dead_letter_sink="archive" if named else dead.url)
        refused = replace(captured_to(harness, sink), delivery=delivery)
        archive = TriggerSpec(name="archive", filter={"type": "test.none"}, url=dead.url, delivery=harness.delivery)
        harness.deploy(replace(make_app(), triggers=(refused, archive)))
        event = make_event("a b/refused.png", partitionkey="gate")
        harness.platform.publish(event)
        wait(harness, lambda: len(dead.received) == 3, 60, what="the dead letter's third attempt")
        wait(harness, lambda: harness.dead() == 0, 30, what="no dead letter that is kept")
        letter = dead.received[-1]
        found = {name: value for name, value in letter.attributes().items() if name not in ADDED_ON_THE_WAY}
    reported = {
        "knativeerrordest": sink.url,
        "knativeerrorcode": "422",
        "knativeerrordata": base64.b64encode(b'{"detail": "no"}').decode(),
    }
    assert found == {**event.attributes(), **reported}
    assert letter.data == event.data


def test_a_dead_letter_that_waits_for_its_sink_survives_the_sudden_end_of_the_platform(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    if not harness.durable:
        pytest.skip("this platform's broker keeps dead letters in memory only")
    sink.answer(Reported(status=422, body="no"))
    with harness.open_sink() as dead:
        dead.answer(Reported(status=503))
        delivery = replace(harness.delivery, dead_letter_sink=dead.url)
        harness.deploy(replace(make_app(), triggers=(replace(captured_to(harness, sink), delivery=delivery),)))
        harness.platform.publish(make_event("late.png"))
        wait(harness, lambda: len(dead.received) >= 6, 60, what="more attempts than the trigger has")
        assert (status(harness).queued, harness.dead()) == (1, 0)
        assert any("dead-letters/" in pause.lane for pause in status(harness).pauses)
        harness.kill()
        dead.answer(Reported())
        harness.start()
        wait(harness, lambda: status(harness).queued == 0, 60, what="the dead letter's delivery")
        assert dead.received[-1].extensions["knativeerrorcode"] == "422"
    assert len(sink.received) == 1


def test_a_dead_letter_sink_can_be_a_function(harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink):
    """Its predictions of dead letters go nowhere."""
    sink.answer(Reported(status=422))
    delivery = replace(harness.delivery, dead_letter_sink=NAME)
    every = TriggerSpec(name="out", url=sink.url, delivery=delivery)
    harness.deploy(replace(make_app(), triggers=(every,)))
    harness.platform.publish(make_event("second.png"))
    wait(harness, lambda: has_predicted(harness), 60, what="the prediction")
    wait(harness, lambda: harness.dead() == 0, 30, what="no dead letter that is kept")
    harness.settle(sink)
    assert {event.type for event in sink.received} == {IMAGE_CAPTURED}


def test_a_poison_image_is_refused_once_and_the_good_ones_behind_it_are_predicted(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    harness.deploy(make_app(predictions_to(harness, sink)))
    harness.platform.publish(make_event("poison.png", data=b"\x89PNG\r\n\x1a\nnot one"))
    harness.platform.publish(make_event("good.png"))
    wait(harness, lambda: of(sink, "good.png"), 60, what="the good image's prediction")
    wait(harness, lambda: harness.dead() == 1, 30, what="the dead letter")
    assert not of(sink, "poison.png")


def test_a_reply_that_comes_back_to_its_own_function_ends_there(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    every = TriggerSpec(name="everything", function=NAME, delivery=harness.delivery)
    harness.deploy(make_app(every, predictions_to(harness, sink)))
    harness.platform.publish(make_event("loop.png"))
    wait(harness, lambda: of(sink, "loop.png"), 60, what="the prediction")
    harness.settle(sink)
    assert len({event.id for event in sink.received}) == 1
    assert harness.dead() == 0


def test_an_event_that_is_answered_with_itself_ends_when_its_time_to_live_does(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    sink.answer(Reported(echo=True))
    harness.deploy(replace(make_app(), triggers=(captured_to(harness, sink),)))
    harness.platform.publish(make_event("round.png", knativebrokerttl="4"))
    wait(harness, lambda: len(sink.received) >= 3, 60, what="some rounds")
    harness.settle(sink)
    assert len(sink.received) <= 5


def test_a_burst_starts_more_replicas_up_to_the_most_allowed(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink, tmp_path: Path
):
    harness.deploy(make_app(predictions_to(harness, sink), scale=ScaleSettings(max=2)))
    Image.effect_noise((2000, 2000), 50).save(tmp_path / "large.png", compress_level=0)
    large = (tmp_path / "large.png").read_bytes()  # slow to read, so that they queue
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(harness.platform.publish, [make_event(f"{number}.png", data=large) for number in range(12)]))
    wait(harness, lambda: status(harness).replicas == 2, 60, what="the second replica")
    wait(harness, lambda: len(subjects(sink)) == 12, 60, what="every prediction")
    assert status(harness).replicas <= 2


def test_accepted_events_survive_the_sudden_end_of_the_platform(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
):
    if not harness.durable:
        pytest.skip("this platform's broker keeps events in memory only")
    harness.deploy(make_app(predictions_to(harness, sink)))
    for number in range(6):
        harness.platform.publish(make_event(f"{number}.png"))
    harness.kill()
    harness.start()
    wait(harness, lambda: len(subjects(sink)) == 6, 60, what="six predictions")


@pytest.mark.long("a platform and its function start")
def test_a_new_artifact_answers_after_the_next_deploy_and_the_old_one_after_a_rollback_that_can_be_undone(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, make_version: MakeArtifact
):
    harness.deploy(make_app())
    first = predicted(harness, make_event("x.png"))
    harness.deploy(make_app(artifact=make_version("2")))
    second = predicted(harness, make_event("x.png"))
    assert second.extensions["modelversion"] == "2"
    assert second.id != first.id
    harness.platform.rollback(NAME)

    def serves(version: str) -> bool:
        return predicted(harness, make_event("x.png")).extensions["modelversion"] == version

    wait(harness, lambda: serves(first.extensions["modelversion"]), 10, what="the old version")
    assert predicted(harness, make_event("x.png")).id == first.id
    harness.platform.rollback(NAME)
    wait(harness, lambda: serves("2"), 10, what="what was rolled back from")


@pytest.mark.long("a platform and two functions start")
def test_a_version_beside_the_one_that_serves_gets_no_request_after_a_rollback_and_every_one_when_promoted(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, make_version: MakeArtifact
):
    harness.deploy(make_app())
    first = predicted(harness, make_event("x.png")).extensions["modelversion"]
    harness.deploy_beside(make_app(artifact=make_version("2")))
    versions = Counter(predicted(harness, make_event("x.png")).extensions["modelversion"] for _ in range(10))
    assert versions[first] >= 8  # by a share of 10 %, the new one gets up to two of ten in a row

    def serves(version: str) -> bool:
        found = {predicted(harness, make_event("x.png")).extensions["modelversion"] for _ in range(5)}
        return found == {version}

    for change, version, phase, percent in (
        (harness.platform.rollback, first, "rolled-back", 0),
        (harness.platform.promote, "2", "done", 100),
        (harness.platform.rollback, first, "rolled-back", 0),
        (harness.platform.rollback, "2", "done", 100),
    ):
        change(NAME)
        wait(harness, partial(serves, version), 10, what=f"every request at the version {version}")
        rollout = status(harness).rollout
        assert rollout is not None
        assert (rollout.phase, rollout.revisions[0].percent) == (phase, percent)


def test_deploying_the_same_again_leaves_nothing_to_roll_back_to(harness: Harness, make_app: MakeApp):
    for _ in range(2):
        harness.deploy(make_app())
        with pytest.raises(NotFoundError):
            harness.platform.rollback(NAME)


def test_a_function_that_cannot_start_says_why(harness: Harness, make_app: MakeApp, make_event: MakeEvent):
    app = make_app()
    other = replace(app.function, artifact_digest="0" * 64)
    harness.platform.deploy(replace(app, function=other))
    if harness.durable:
        harness.platform.publish(make_event("kept.png"))  # here a function starts for an event
    wait(harness, lambda: status(harness).state == "failed", 60, what="the failure")
    assert "was deployed" in status(harness).reason
    if harness.durable:
        assert (status(harness).queued, harness.dead()) == (1, 0)


def test_events_of_a_function_that_can_not_start_wait_and_are_predicted_once_it_can(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink, tiny_artifact: Path, tmp_path: Path
):
    if not harness.durable:
        pytest.skip("this platform's broker keeps events in memory, and gives up on those that reach nobody")
    mended = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, mended)
    harness.deploy(make_app(predictions_to(harness, sink), artifact=mended))
    model = (mended / "model.onnx").read_bytes()
    (mended / "model.onnx").write_bytes(b"x" * len(model))
    harness.platform.publish(make_event("patient.png"))
    wait(harness, lambda: status(harness).state == "failed", 60, what="the failure")
    assert "onnxruntime can't load" in status(harness).reason
    (mended / "model.onnx").write_bytes(model)
    wait(harness, lambda: of(sink, "patient.png"), 60, what="the prediction")
    assert harness.dead() == 0


def test_predictions_and_refusals_are_forwarded_to_the_receiver(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, receiver: Receiving
):
    """Also of events that come through the broker and not from an agent; each arrives under one id."""
    feeding = replace(make_app().triggers[0], delivery=replace(harness.delivery, dead_letter_sink=""))
    harness.deploy(replace(make_app(), triggers=(feeding,), relay=receiver.relay))
    for number in range(3):
        harness.platform.publish(make_event(f"{number}.png"))
    harness.platform.publish(make_event("poison.png", data=b"\x89PNG\r\n\x1a\nnot one"))
    wanted = {f"{number}.png" for number in range(3)} | {"poison.png"}
    wait(harness, lambda: subjects(receiver.sink) == wanted, 60, what="three predictions and a refusal")
    assert {event.type for event in of(receiver.sink, "poison.png")} == {IMAGE_REJECTED}
    assert {event.type for event in of(receiver.sink, "0.png")} == {IMAGE_CLASSIFIED}
    assert {len({event.id for event in of(receiver.sink, subject)}) for subject in wanted} == {1}

    def link() -> LinkReport | None:
        return next((agent.link for agent in status(harness).agents if agent.name == f"{NAME}.relay"), None)

    wait(
        harness,
        lambda: (reported := link()) is not None and reported.up and reported.backlog_events == 0,
        30,
        what="the link",
    )


def test_a_removed_function_is_gone(harness: Harness, make_app: MakeApp, make_event: MakeEvent):
    harness.deploy(make_app())
    predicted(harness, make_event("gone.png"))
    harness.platform.remove(NAME)
    assert harness.platform.status() == []
    with pytest.raises(NotFoundError):
        harness.platform.invoke(NAME, make_event("gone.png"))
    with pytest.raises(NotFoundError):
        harness.platform.remove(NAME)


LABELS = ("red rose", "100%", "Gänseblümchen", "plain")
FILTERS: dict[str, tuple[dict[str, Any], ...]] = {
    **{f"exact-{number}": ({"exact": {"label": label}},) for number, label in enumerate(LABELS)},
    "prefix": ({"prefix": {"subject": "a b/Gänse"}},),
    "suffix": ({"suffix": {"subject": "100%.png"}},),
    "all": ({"all": [{"exact": {"type": "test.label"}}, {"prefix": {"label": "red "}}]},),
    "any": ({"any": [{"exact": {"label": "red rose"}}, {"exact": {"label": "plain"}}]},),
    "not": ({"exact": {"type": "test.label"}}, {"not": {"exact": {"label": "red rose"}}}),
}
"""Filters by the name of their trigger. Events of the test have the type `test.label`."""


def test_filters_match_the_same_events_on_every_platform(harness: Harness, make_app: MakeApp, sink: Sink):
    """The dialects of the Subscriptions API; labels with spaces, `%` and letters beyond ASCII; both content modes."""
    triggers = [
        TriggerSpec(name=f"f-{name}", filters=filters, url=sink.url, delivery=harness.delivery)
        for name, filters in FILTERS.items()
    ]
    harness.deploy(make_app(*triggers))
    events = [
        Event(
            id=f"{number}", source="/test", type="test.label", subject=f"a b/{label}.png", extensions={"label": label}
        )
        for number, label in enumerate(LABELS)
    ]
    expected = Counter(
        event.extensions["label"]
        for event in events
        for filters in FILTERS.values()
        if matches_all(event.attributes(), {}, filters)
    )
    for event in events:
        harness.platform.publish(replace(event, id=f"binary-{event.id}"))
        harness.publish_structured(replace(event, id=f"structured-{event.id}"))
    wait(harness, lambda: len(sink.received) >= 2 * expected.total(), 60, what=f"{2 * expected.total()} deliveries")
    harness.settle(sink)
    for mode in ("binary", "structured"):
        got = [event for event in sink.received if event.id.startswith(mode)]
        assert Counter(event.extensions["label"] for event in got) == expected, mode
        assert {event.subject for event in got} == {event.subject for event in events}

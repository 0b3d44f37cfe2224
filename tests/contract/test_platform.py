"""What every platform promises. One suite, run over each implementation of `eaves.platform.Platform`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from eaves.errors import NotFoundError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from eaves.platform import DeliverySettings, FunctionStatus, Platform, ScaleSettings, TriggerSpec
from tests.contract.conftest import NAME, MakeApp, MakeEvent
from tests.contract.harness import Harness, Sink, label_of
from tests.waiting import wait_until

QUICK = DeliverySettings(retry=3, backoff_s=0.05, backoff_cap_s=0.2, timeout_s=60)


def status_of(platform: Platform) -> FunctionStatus:
    (status,) = platform.status()
    return status


def predictions_to(sink: Sink, **filter_: str) -> TriggerSpec:
    return TriggerSpec(name="out", filter={"type": IMAGE_CLASSIFIED, **filter_}, url=sink.url, delivery=QUICK)


def test_a_deployed_function_is_listed_with_its_artifact_and_runs_nothing_before_the_first_event(
    harness: Harness, make_app: MakeApp
) -> None:
    app = make_app()
    harness.platform.deploy(app)
    status = status_of(harness.platform)
    assert (status.name, status.state, status.replicas) == (NAME, "idle", 0)
    assert status.artifact_digest == app.function.artifact_digest


def test_an_event_sent_to_a_function_at_zero_is_answered_by_a_prediction_event(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent
) -> None:
    harness.platform.deploy(make_app())
    cause = make_event("a b/ü.png")
    answer = harness.platform.invoke(NAME, cause)
    assert answer.status == 200
    assert answer.event is not None
    assert (answer.event.type, answer.event.source) == (IMAGE_CLASSIFIED, f"/eaves/test/{NAME}")
    assert answer.event.subject == "a b/ü.png"
    assert (answer.event.extensions["causeid"], answer.event.extensions["causesource"]) == (cause.id, cause.source)
    assert answer.event.extensions["label"] == label_of(answer.event)
    assert status_of(harness.platform).state == "ready"


def test_the_same_event_twice_gets_the_same_reply_id(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent
) -> None:
    harness.platform.deploy(make_app())
    first, second = (harness.platform.invoke(NAME, make_event("same.png")).event for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.id == second.id


def test_a_published_event_reaches_the_function_and_its_prediction_reaches_the_subscriber(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    harness.platform.deploy(make_app(predictions_to(sink)))
    events = [make_event(f"{number}.png", image=number % 3) for number in range(9)]
    for event in events:
        harness.platform.publish(event)
    wait_until(lambda: len({event.subject for event in sink.received}) == 9, 60, what="nine predictions")
    assert {event.extensions["causeid"] for event in sink.received} == {event.id for event in events}
    assert {event.type for event in sink.received} == {IMAGE_CLASSIFIED}


def test_a_trigger_passes_on_only_events_whose_attributes_match(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    harness.platform.deploy(make_app())
    wanted = harness.platform.invoke(NAME, make_event("0.png", image=0)).event
    other = harness.platform.invoke(NAME, make_event("1.png", image=1)).event
    assert wanted is not None
    assert other is not None
    assert label_of(wanted) != label_of(other)
    harness.platform.deploy(make_app(predictions_to(sink, label=label_of(wanted))))
    for number in (1, 0, 1, 0):
        harness.platform.publish(make_event(f"f{len(sink.received)}-{number}.png", image=number))
    wait_until(lambda: status_of(harness.platform).queued == 0, 60, what="an empty queue")
    wait_until(lambda: sink.received, 10, what="the matching predictions")
    assert {event.extensions["label"] for event in sink.received} == {label_of(wanted)}


def test_a_subscriber_that_is_down_gets_the_event_once_it_is_back(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    sink.answer = lambda event: (503, {}, b"") if len(sink.received) < 3 else (202, {}, b"")
    harness.platform.deploy(make_app(predictions_to(sink)))
    harness.platform.publish(make_event("retried.png"))
    wait_until(lambda: len(sink.received) == 3, 60, what="the third attempt")
    assert len({event.id for event in sink.received}) == 1
    wait_until(lambda: status_of(harness.platform).queued == 0, 10, what="an empty queue")
    assert status_of(harness.platform).dead == 0


@pytest.mark.parametrize(("status", "attempts"), [(400, 1), (422, 1), (500, 4), (429, 4)])
def test_an_event_that_is_refused_is_kept_as_a_dead_letter_after_as_many_attempts_as_its_status_deserves(
    status: int, attempts: int, harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    sink.answer = lambda event: (status, {}, b"no")
    trigger = TriggerSpec(name="out", filter={"type": IMAGE_CAPTURED}, url=sink.url, delivery=QUICK)
    harness.platform.deploy(replace(make_app(), triggers=(trigger,)))
    harness.platform.publish(make_event("refused.png"))
    wait_until(lambda: status_of(harness.platform).dead == 1, 30, what="the dead letter")
    assert len(sink.received) == attempts


def test_a_poison_image_is_refused_once_and_the_good_ones_behind_it_are_predicted(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    harness.platform.deploy(make_app(predictions_to(sink)))
    harness.platform.publish(make_event("poison.png", data=b"\x89PNG\r\n\x1a\nnot one"))
    harness.platform.publish(make_event("good.png"))
    wait_until(lambda: sink.of("good.png"), 60, what="the good image's prediction")
    wait_until(lambda: status_of(harness.platform).dead == 1, 30, what="the dead letter")
    assert not sink.of("poison.png")


def test_a_subscriber_whose_200_has_a_body_that_is_no_event_is_tried_again(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    sink.answer = lambda event: (
        (200, {"Content-Type": "text/plain"}, b"OK") if len(sink.received) < 2 else (200, {}, b"")
    )
    harness.platform.deploy(make_app(predictions_to(sink)))
    harness.platform.publish(make_event("junk.png"))
    wait_until(lambda: len(sink.received) == 2, 60, what="the second attempt")


def test_a_reply_that_comes_back_to_its_own_function_ends_there(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    every = TriggerSpec(name="everything", function=NAME, delivery=QUICK)
    harness.platform.deploy(make_app(every, predictions_to(sink)))
    harness.platform.publish(make_event("loop.png"))
    wait_until(lambda: sink.of("loop.png"), 60, what="the prediction")
    wait_until(lambda: status_of(harness.platform).queued == 0, 30, what="an empty queue")
    assert len({event.id for event in sink.received}) == 1
    assert status_of(harness.platform).dead == 0


def test_an_idle_function_goes_to_zero_and_comes_back(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent
) -> None:
    harness.platform.deploy(make_app(scale=ScaleSettings(idle_s=0.5)))
    assert harness.platform.invoke(NAME, make_event("before.png")).status == 200
    wait_until(lambda: status_of(harness.platform).state == "idle", 30, what="zero replicas")
    assert status_of(harness.platform).replicas == 0
    assert harness.platform.invoke(NAME, make_event("after.png")).status == 200


def test_a_burst_starts_more_replicas_up_to_the_most_allowed(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink, tmp_path: Path
) -> None:
    harness.platform.deploy(make_app(predictions_to(sink), scale=ScaleSettings(max=2)))
    Image.effect_noise((3000, 3000), 50).save(tmp_path / "large.png")
    large = (tmp_path / "large.png").read_bytes()  # a tenth of a second each, so that they queue
    for number in range(20):
        harness.platform.publish(make_event(f"{number}.png", data=large))
    wait_until(lambda: status_of(harness.platform).replicas == 2, 60, what="the second replica")
    wait_until(lambda: len(sink.received) == 20, 60, what="every prediction")
    assert status_of(harness.platform).replicas <= 2


def test_accepted_events_survive_the_sudden_end_of_the_platform(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink
) -> None:
    if not harness.durable:
        pytest.skip("this platform's broker keeps events in memory only")
    harness.platform.deploy(make_app(predictions_to(sink)))
    for number in range(6):
        harness.platform.publish(make_event(f"{number}.png"))
    harness.kill()
    harness.start()
    wait_until(lambda: len({event.subject for event in sink.received}) == 6, 60, what="six predictions")


def test_a_new_artifact_answers_after_the_next_deploy(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, tiny_artifact: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    shutil.copytree(tiny_artifact, second)
    manifest = json.loads((second / "manifest.json").read_text())
    (second / "manifest.json").write_text(json.dumps({**manifest, "version": "2"}))
    harness.platform.deploy(make_app())
    first = harness.platform.invoke(NAME, make_event("x.png")).event
    harness.platform.deploy(make_app(artifact=second))
    answer = harness.platform.invoke(NAME, make_event("x.png")).event
    assert first is not None
    assert answer is not None
    assert answer.extensions["modelversion"] == "2"
    assert answer.id != first.id


def test_a_function_that_cannot_start_says_why_and_keeps_its_events(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, tiny_artifact: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_artifact, broken)
    (broken / "model.onnx").write_bytes(b"x" * (broken / "model.onnx").stat().st_size)
    harness.platform.deploy(make_app(artifact=broken))
    harness.platform.publish(make_event("kept.png"))
    wait_until(lambda: status_of(harness.platform).state == "failed", 60, what="the failure")
    assert "onnxruntime can't load" in status_of(harness.platform).reason
    assert status_of(harness.platform).queued == 1
    assert status_of(harness.platform).dead == 0


def test_events_of_a_function_that_can_not_start_wait_and_are_predicted_once_it_can(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, sink: Sink, tiny_artifact: Path, tmp_path: Path
) -> None:
    mended = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, mended)
    app = make_app(predictions_to(sink), artifact=mended)
    quick = TriggerSpec(name=NAME, filter={"type": IMAGE_CAPTURED}, function=NAME, delivery=QUICK)
    harness.platform.deploy(replace(app, triggers=(quick, app.triggers[1])))
    model = (mended / "model.onnx").read_bytes()
    (mended / "model.onnx").write_bytes(b"x" * len(model))
    harness.platform.publish(make_event("patient.png"))
    wait_until(lambda: status_of(harness.platform).state == "failed", 60, what="the failure")
    (mended / "model.onnx").write_bytes(model)
    wait_until(lambda: sink.of("patient.png"), 60, what="the prediction")
    assert status_of(harness.platform).dead == 0


def test_an_artifact_that_changed_since_it_was_deployed_is_not_served(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent, tiny_artifact: Path, tmp_path: Path
) -> None:
    swapped = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, swapped)
    harness.platform.deploy(make_app(artifact=swapped))
    manifest = json.loads((swapped / "manifest.json").read_text())
    (swapped / "manifest.json").write_text(json.dumps({**manifest, "version": "other"}))
    harness.platform.publish(make_event("swapped.png"))
    wait_until(lambda: "was deployed" in status_of(harness.platform).reason, 60, what="the refusal")


def test_logs_show_what_the_function_wrote(harness: Harness, make_app: MakeApp, make_event: MakeEvent) -> None:
    harness.platform.deploy(make_app())
    harness.platform.invoke(NAME, make_event("logged.png"))
    assert any("predicted" in line for line in harness.platform.logs(NAME, lines=50))


def test_a_removed_function_is_gone_with_its_processes(
    harness: Harness, make_app: MakeApp, make_event: MakeEvent
) -> None:
    harness.platform.deploy(make_app())
    harness.platform.invoke(NAME, make_event("gone.png"))
    harness.platform.remove(NAME)
    assert harness.platform.status() == []
    with pytest.raises(NotFoundError):
        harness.platform.invoke(NAME, make_event("gone.png"))
    with pytest.raises(NotFoundError):
        harness.platform.remove(NAME)

"""`eaves up` with a source that takes images from a real broker."""

from __future__ import annotations

from pathlib import Path

from eaves.events import IMAGE_CAPTURED
from eaves.local.specs import LocalApp, LocalFunction
from eaves.platform import SourceSpec, TriggerSpec
from tests.contract.harness import open_local_harness
from tests.integration.mqtt.harness import connect_publisher, picture, publish
from tests.processes.mosquitto import KEEPING_ALL, run_mosquitto
from tests.waiting import wait_until


def test_images_of_a_broker_reach_a_subscriber_and_none_is_lost_while_the_platform_is_down(tmp_path: Path) -> None:
    with (
        run_mosquitto(tmp_path / "broker", (*KEEPING_ALL, "log_type all")) as broker,
        connect_publisher(broker.url) as publisher,
        open_local_harness() as harness,
        harness.open_sink() as sink,
    ):
        source = SourceSpec(name="gate", kind="mqtt", options={"url": broker.url, "topics": ["cameras/#"]})
        trigger = TriggerSpec(name="all", filter={"type": IMAGE_CAPTURED}, url=sink.url)
        function = LocalFunction(name="flowers", site="home", artifact=Path("/none"))
        harness.deploy(LocalApp(function=function, triggers=(trigger,), sources=(source,)))
        wait_until(lambda: "SUBACK to eaves-home-gate" in broker.log.read_text(), 30, what="the subscription")
        publish(publisher, picture(1))
        wait_until(lambda: len(sink.received) == 1, 30, what="the first image")
        harness.kill()
        publish(publisher, picture(2))
        harness.start()
        wait_until(lambda: {event.data for event in sink.received} == {picture(1), picture(2)}, 60)
    assert {event.source for event in sink.received} == {"/eaves/home/gate"}

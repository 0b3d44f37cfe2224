"""What the broker hands to an app's relay."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from eaves.delivery import SinkResponse
from eaves.delivery.sinks import SinkTarget, load_sink
from eaves.errors import NotFoundError
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED, IMAGE_REJECTED, Event
from eaves.federation_events import FEDERATION_SUMS, build_federation_event
from eaves.history import FileHistory
from eaves.local.broker import Broker, Send, Subscription, build_relay_trigger, lane_of
from eaves.local.state import LocalApp, LocalFunction
from eaves.platform import RELAY, DeliverySettings, RelaySpec, TriggerSpec, default_trigger
from eaves.spool import Spool, SpoolLimits
from tests.fakes.models.artifact import encode_png
from tests.waiting import wait_until

QUICK = DeliverySettings(retry=0, backoff_s=0.01, backoff_cap_s=0.05)


class Relay:
    """Takes events."""

    def __init__(self) -> None:
        self.got: list[Event] = []

    def __call__(self, event: Event, headers: Mapping[str, str]) -> SinkResponse:
        self.got.append(event)
        return SinkResponse(status=202)

    def kinds(self) -> list[str]:
        """Return the word in the type of each received event: captured, classified, rejected."""
        return [event.type.split(".")[-2] for event in self.got]


def image(number: int = 0) -> Event:
    return Event(
        id=f"id-{number}",
        source="/eaves/home/inbox",
        type=IMAGE_CAPTURED,
        datacontenttype="image/png",
        data=b"x" * 1000,
    )


def predict(confidence: str = "high", function: str = "flowers") -> Send:
    def answer(event: Event, headers: Mapping[str, str]) -> SinkResponse:
        reply = Event(
            id=f"of-{event.id}",
            source=f"/eaves/home/{function}",
            type=IMAGE_CLASSIFIED,
            datacontenttype="application/json",
            data=b"{}",
            extensions={"confidence": confidence},
        )
        return SinkResponse(status=200, event=reply)

    return answer


def refuse(_: Event, headers: Mapping[str, str]) -> SinkResponse:
    return SinkResponse(
        status=422, body=b'{"type": "urn:eaves:problem:image", "title": "no image", "detail": "cut off"}'
    )


def app(name: str = "flowers", **relay: Any) -> LocalApp:
    function = LocalFunction(name=name, site="home", artifact=Path("/a"))
    return LocalApp(
        function=function,
        triggers=(default_trigger(name),),
        relay=RelaySpec(to="https://cloud.example:8443", **relay),
    )


def subscriptions(wanted: LocalApp, function: Send, relay: Relay) -> dict[str, Subscription]:
    """Return the subscriptions of the function and the relay, as `Apps` makes them."""
    name = wanted.function.name
    predicts = TriggerSpec(name=name, filter={"type": IMAGE_CAPTURED}, function=name, delivery=QUICK)
    made = [
        Subscription(app=name, trigger=predicts, send=function, parallel=1, site="home", relay=wanted.relay),
        Subscription(
            app=name, trigger=build_relay_trigger(wanted), send=relay, parallel=1, site="home", relay=wanted.relay
        ),
    ]
    return {one.lane: one for one in made}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", limits=SpoolLimits(max_entries=5)) as opened:
        yield opened


@pytest.fixture
def broker(spool: Spool, tmp_path: Path) -> Iterator[Broker]:
    history = FileHistory(tmp_path / "history.db")
    made = Broker(spool, history.add)
    yield made
    made.stop()
    history.close()


def test_an_image_that_was_predicted_already_goes_to_the_relay_only(spool: Spool, broker: Broker):
    relay = Relay()
    broker.subscribe(subscriptions(app(images="low"), refuse, relay))
    broker.accept(image(), relay_of="flowers")
    broker.accept(image(1), relay_of="removed")
    broker.accept(replace(image(2), type=IMAGE_REJECTED, datacontenttype="application/json"), relay_of="flowers")
    wait_until(lambda: relay.kinds() == ["captured", "rejected"])
    assert relay.got[0].data == image().data
    wait_until(lambda: spool.counts() == {})


def test_sums_of_images_go_to_the_relay_only_and_are_refused_without_one(spool: Spool, broker: Broker):
    relay, other = Relay(), Relay()
    everything = Subscription(app="flowers", trigger=TriggerSpec(name="all", url="http://any"), send=other, parallel=1)
    sums = build_federation_event("home", "roses", FEDERATION_SUMS, 1, b"sums")
    broker.subscribe({everything.lane: everything})
    with pytest.raises(NotFoundError, match="no app with a relay"):
        broker.accept(sums, relay_of="flowers")
    broker.subscribe({everything.lane: everything, **subscriptions(app(), refuse, relay)})
    broker.accept(sums, relay_of="flowers")
    wait_until(lambda: spool.counts() == {})
    assert ([one.id for one in relay.got], other.got) == ([sums.id], [])


def test_a_chosen_image_is_kept_in_its_own_apps_folder_once_it_can_be_written(
    spool: Spool, broker: Broker, tmp_path: Path
):
    folder, other = tmp_path / "my photos", tmp_path / "other"
    made = [one for one in subscriptions(app(), refuse, Relay()).values() if not one.is_relay]
    for name, path in (("flowers", folder), ("trees", other)):
        keeps = TriggerSpec(name="dataset", url=f"dataset://{quote(str(path))}", filter={"type": IMAGE_CAPTURED})
        assert not [*keeps.faults()]
        sink = load_sink(keeps.url)(SinkTarget(url=keeps.url, settings=keeps.mqtt, site="home", app=name))
        send = partial(lambda sink, event, _: sink.send(event, timeout_s=1), sink)
        made.append(Subscription(app=name, trigger=keeps, send=send, parallel=1))
    folder.write_text("no folder")  # nothing can be written into it
    broker.subscribe({one.lane: one for one in made})
    pictures = [encode_png((grey, grey, grey)) for grey in (0, 9)]
    for number, why in enumerate(("unsure", "audit", "audit")):
        chosen = replace(image(number), data=pictures[why == "audit"]).with_extensions(chosen=why)
        broker.accept(chosen, relay_of="flowers")
    lane = lane_of("flowers", "dataset")
    wait_until(lambda: any(one.lane == lane and one.paused for one in broker.deliveries()))
    wait_until(lambda: spool.counts() == {lane: (3, 0)})
    folder.unlink()
    broker.try_now(lane)
    wait_until(lambda: spool.counts() == {})
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    assert [name.rpartition("-")[0] for name in names] == ["audit/audit-home-inbox", "unsure-home-inbox"]
    assert [(folder / name).read_bytes() for name in names] == pictures[::-1]
    assert not other.exists()


@pytest.mark.parametrize("url", ["dataset://photos", "dataset:photos", "dataset://"])
def test_the_folder_of_a_trigger_is_absolute(url: str):
    assert [path for path, _ in TriggerSpec(name="keeps", url=url).faults()] == ["url"]


def test_the_relays_own_refusal_is_reported_to_nobody(spool: Spool, broker: Broker):
    made = subscriptions(app(), predict(), Relay())
    lane = lane_of("flowers", RELAY)
    broker.subscribe({**made, lane: replace(made[lane], send=refuse)})
    broker.accept(image())
    wait_until(lambda: spool.counts() == {lane: (0, 1)})

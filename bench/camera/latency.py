"""Measures the time from capture to prediction over a whole local platform, with its parts."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.camera.cameras import CameraServer
from bench.camera.sink import Arrival, accepting
from bench.camera.starts import find_sent
from bench.local.platform import run_platform, wait_until
from eaves.events import IMAGE_CAPTURED, IMAGE_CLASSIFIED
from eaves.local.specs import LocalApp, LocalFunction
from eaves.platform import ScaleSettings, SourceSpec, TriggerSpec, default_trigger

APP = "flowers"
WARM = 3
"""Number of first frames that are not counted: the function starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """Times of one frame, ms.

    Attributes:
        arrived: From the server's sending to the frame's capture time: network and demultiplexing.
        stored: From there until its event is on disk: decoding, JPEG, pipe, slot, spool.
        image_shown: From there until a subscriber has the image's event: delivery by agent and broker.
        function: Time inside the function: decode, resize, inference.
        total: From the server's sending until a subscriber has the prediction.
    """

    arrived: float
    stored: float
    image_shown: float
    function: float
    total: float

    @property
    def rest(self) -> float:
        """From the image on disk to the prediction without the function: deliveries, broker, activator, HTTP."""
        return self.total - self.arrived - self.stored - self.function


def measure(server: CameraServer, artifact: Path, seconds: float) -> list[Journey]:
    """Measure each frame of one camera with one frame a second.

    Args:
        server: Camera.
        artifact: Artifact of the function.
        seconds: Duration of the measurement.
    """
    name = server.names[0]
    with accepting(keeps=True) as sink:
        function = LocalFunction(name=APP, site=APP, artifact=artifact, scale=ScaleSettings(idle_s=3600, max=1))
        triggers = [default_trigger(APP)]
        triggers += [TriggerSpec(name=f"to-sink-{number}", filter={"type": kind}, url=sink.url)
                     for number, kind in enumerate((IMAGE_CAPTURED, IMAGE_CLASSIFIED))]  # fmt: skip
        source = SourceSpec(name=name, kind="camera", options={"url": server.url(name)})
        app = LocalApp(function=function, triggers=tuple(triggers), sources=(source,))
        with run_platform(app, function="functions") as platform:
            wait_until(lambda: len(_predictions(sink.arrivals)) >= WARM)
            time.sleep(seconds)
            arrivals, stored = list(sink.arrivals), _read_stored(platform.state.root)
    return _join(server, arrivals, stored)


def _predictions(arrivals: Sequence[Arrival]) -> list[Arrival]:
    return [one for one in list(arrivals) if one.attributes["type"] == IMAGE_CLASSIFIED]


def _read_stored(root: Path) -> dict[str, float]:
    """Return the Unix time at which each event was on disk in the agent's spool, by its id."""
    found = {}
    for path in root.rglob("*.log"):
        for line in path.read_text(errors="replace").splitlines():
            if '"event_id"' in line and "captured " in line:
                values = json.loads(line)
                found[values["event_id"]] = datetime.fromisoformat(values["time"]).timestamp()
    return found


def _join(server: CameraServer, arrivals: Sequence[Arrival], stored: Mapping[str, float]) -> list[Journey]:
    offset_s = time.time() - time.monotonic()
    images = {one.attributes["id"]: one for one in arrivals if one.attributes["type"] == IMAGE_CAPTURED}
    found = []
    for prediction in _predictions(arrivals)[WARM:]:
        image = images.get(prediction.attributes["causeid"])
        sent_s = None if image is None else find_sent(server, server.names[0], image.data, image.at)
        if image is None or sent_s is None or image.attributes["id"] not in stored:
            continue
        captured_s = datetime.fromisoformat(image.attributes["time"]).timestamp() - offset_s
        stored_s = stored[image.attributes["id"]] - offset_s
        spent = json.loads(prediction.data)["timings_ms"]
        found.append(
            Journey(
                arrived=(captured_s - sent_s) * 1e3,
                stored=(stored_s - captured_s) * 1e3,
                image_shown=(image.at - stored_s) * 1e3,
                function=sum(value for name, value in spent.items() if name != "total"),
                total=(prediction.at - sent_s) * 1e3,
            )
        )
    return found


def median(journeys: Sequence[Journey], name: str) -> float:
    """Return the median of one of the times, ms."""
    return float(statistics.median(getattr(one, name) for one in journeys))

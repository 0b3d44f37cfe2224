"""Claim checks end to end: a folder, an agent, a store that checks signatures, a function, a sink; all real."""

from __future__ import annotations

import hashlib
import io
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from eaves.events import IMAGE_CLASSIFIED, Event
from tests.contract.sinks import LocalSink, open_sink
from tests.object_store import REGION, ObjectStore, open_store
from tests.processes.agents import AgentProcess
from tests.processes.function import Function
from tests.waiting import wait_until

OVER_BYTES = 20_000


def picture(seed: int, *, size_bytes: int) -> bytes:
    """A JPEG that is padded to a size."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), (seed % 256, 80, 40)).save(stream, "JPEG")
    return stream.getvalue().ljust(size_bytes, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The whole chain.

    Attributes:
        store: The object store.
        agent: The agent, whose keys are in `agent_keys`.
        sink: Sink of the predictions.
        agent_keys: Folder of the agent's keys.
        function_keys: Folder of the function's keys.
    """

    store: ObjectStore
    agent: AgentProcess
    sink: LocalSink
    agent_keys: Path
    function_keys: Path

    def drop(self, name: str, data: bytes) -> None:
        """Let an image appear in the folder."""
        hidden = self.agent.inbox / f".{name}"
        hidden.write_bytes(data)
        hidden.rename(self.agent.inbox / name)

    def predictions(self, name: str) -> list[Event]:
        return [event for event in self.sink.received if event.subject == name and event.type == IMAGE_CLASSIFIED]


@pytest.fixture
def chain(tmp_path: Path, tiny_artifact: Path, start: Callable[..., Function]) -> Iterator[Chain]:
    with open_store() as store, open_sink() as sink:
        function_keys, agent_keys = store.write_keys(tmp_path / "f"), store.write_keys(tmp_path / "a")
        function = start(
            artifact=tiny_artifact,
            EAVES_DATAREF_HOSTS=store.host,
            EAVES_DATAREF_SCHEMES="http",
            EAVES_DATAREF_NETWORKS="127.0.0.0/8",
            EAVES_DATAREF_CREDENTIALS=str(function_keys),
            EAVES_DATAREF_REGION=REGION,
        )
        source = {
            "credentials": str(agent_keys),
            "claim_check_over_bytes": OVER_BYTES,
            "claim_check_bucket": "s3://photos/large",
            "claim_check_endpoint": store.endpoint,
            "claim_check_region": REGION,
        }
        port = wait_until(function.port, 60)
        agent = AgentProcess(
            tmp_path / "agent", sink.url, source=source, EAVES_FUNCTION_URL=f"http://127.0.0.1:{port}/"
        )
        agent.start()
        try:
            yield Chain(store=store, agent=agent, sink=sink, agent_keys=agent_keys, function_keys=function_keys)
        finally:
            agent.stop(signal.SIGKILL)


def test_large_images_are_predicted_from_the_bucket_and_small_ones_from_the_event(chain: Chain) -> None:
    large, small = picture(1, size_bytes=OVER_BYTES + 1), picture(2, size_bytes=OVER_BYTES)
    chain.drop("large.jpg", large)
    chain.drop("small.jpg", small)
    wait_until(lambda: chain.predictions("large.jpg") and chain.predictions("small.jpg"), 60, what="predictions")
    (prediction,) = chain.predictions("large.jpg")
    digest = hashlib.sha256(large).hexdigest()
    assert prediction.extensions["datadigest"] == f"sha256:{digest}"
    key = f"large/test/cam/{prediction.extensions['causeid']}-{digest[:16]}.jpg"
    assert chain.store.list_keys() == [key]
    found = chain.store.client.get_object(Bucket="photos", Key=key)
    assert (found["Body"].read(), found["ContentType"]) == (large, "image/jpeg")


def test_a_function_whose_key_is_refused_loses_no_image(chain: Chain) -> None:
    chain.store.write_keys(chain.function_keys, secret_key="wrong")
    names = [f"{number}.jpg" for number in range(3)]
    for number, name in enumerate(names):
        chain.drop(name, picture(number, size_bytes=OVER_BYTES + 1 + number))
    chain.drop("small.jpg", picture(9, size_bytes=OVER_BYTES))
    wait_until(lambda: chain.predictions("small.jpg"), 60, what="the small image's prediction")
    wait_until(lambda: len(chain.store.list_keys()) == 3, 60, what="three objects")
    reason = wait_until(lambda: str(chain.agent.lane("sink").get("reason") or ""), 60, what="a paused lane")
    assert "answered 503" in reason
    assert "SignatureDoesNotMatch" in reason
    chain.store.write_keys(chain.function_keys)
    wait_until(lambda: all(map(chain.predictions, names)), 60, what="the predictions")
    assert chain.agent.lane("sink").get("dead", 0) == 0
